//! What a session checks, as one hash: two sessions share tickets only if they would check the same.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 over fields that cannot run into each other.
pub(in crate::tls) struct Fingerprint(Context);

impl Fingerprint {
    pub(in crate::tls) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// One field: its length goes in front.
    pub(in crate::tls) fn field(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// A list: its count goes in front.
    pub(in crate::tls) fn list<B: AsRef<[u8]>>(&mut self, fields: impl IntoIterator<Item = B>) -> &mut Self {
        let fields: Vec<B> = fields.into_iter().collect();
        self.0.update(&(fields.len() as u64).to_be_bytes());
        for field in &fields {
            self.field(field.as_ref());
        }
        self
    }

    pub(in crate::tls) fn finish(self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lists: &[&[&str]]) -> [u8; 32] {
        let mut print = Fingerprint::new();
        for list in lists {
            print.list(*list);
        }
        print.finish()
    }

    #[test]
    fn what_is_split_another_way_is_something_else() {
        let all: [&[&[&str]]; 5] =
            [&[&["ab"]], &[&["a", "b"]], &[&["a"], &["b"]], &[&["ab"], &[]], &[&[], &["ab"]]];
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                assert_ne!(of(one), of(other), "{one:?} {other:?}");
            }
        }
    }
}
