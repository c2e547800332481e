//! Bytes that a full descriptor refused, kept until it takes them. At rest it owns nothing.

use rustix::io::Errno;

/// Refused bytes, if there are any: most sessions have none, and a pointer is all that they keep.
#[derive(Debug, Default)]
pub(super) struct Held(Option<Box<Kept>>);

/// Refused bytes and how many of them went out since.
#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    sent: usize,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Bytes held.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| kept.bytes.len() - kept.sent)
    }

    /// Writes `fresh` behind what is held; keeps what `write` refuses. Returns the bytes that went
    /// out now, and whether nothing was refused: where something is held already, nothing is tried.
    pub(super) fn push(
        &mut self,
        fresh: &[u8],
        mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<(usize, bool), Errno> {
        if let Some(kept) = &mut self.0 {
            // A peer that takes a little and makes us say more must not keep what it has taken.
            kept.bytes.drain(..kept.sent);
            kept.sent = 0;
            kept.bytes.extend_from_slice(fresh);
            return Ok((0, true));
        }
        let (sent, open) = write_some(fresh, &mut write)?;
        if sent < fresh.len() {
            self.0 = Some(Box::new(Kept { bytes: fresh[sent..].to_vec(), sent: 0 }));
        }
        Ok((sent, open))
    }

    /// Writes what is held.
    pub(super) fn drain(
        &mut self,
        mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
    ) -> Result<(usize, bool), Errno> {
        let Some(kept) = &mut self.0 else { return Ok((0, true)) };
        let (sent, open) = write_some(&kept.bytes[kept.sent..], &mut write)?;
        kept.sent += sent;
        if kept.sent == kept.bytes.len() {
            self.clear();
        }
        Ok((sent, open))
    }

    /// Forgets what is held: nobody will take it.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

/// Writes until everything is out or the descriptor is full.
fn write_some(
    bytes: &[u8],
    write: &mut impl FnMut(&[u8]) -> Result<usize, Errno>,
) -> Result<(usize, bool), Errno> {
    let mut sent = 0;
    while sent < bytes.len() {
        match write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(Errno::AGAIN) => return Ok((sent, false)),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok((sent, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slow_peer_has_taken_is_not_kept() {
        let mut held = Held::default();
        held.push(&[0; 1000], |_| Err(Errno::AGAIN)).unwrap();
        for _ in 0..10_000 {
            // As much goes out as comes in: never empty, never more.
            let mut room = 999;
            held.drain(|_| if room == 0 { Err(Errno::AGAIN) } else { Ok(std::mem::take(&mut room)) })
                .unwrap();
            held.push(&[0; 999], |_| Err(Errno::AGAIN)).unwrap();
        }
        assert_eq!(held.len(), 1000);
        let memory = held.0.as_ref().map_or(0, |kept| kept.bytes.capacity());
        assert!(memory < 64 * 1024, "{memory} bytes of memory");
    }

    #[test]
    fn what_is_refused_goes_out_later_in_order_and_once() {
        let mut held = Held::default();
        let mut out = Vec::new();
        let mut room = 3;
        let mut write = |bytes: &[u8]| {
            let count = bytes.len().min(room);
            if count == 0 {
                return Err(Errno::AGAIN);
            }
            room -= count;
            out.extend_from_slice(&bytes[..count]);
            Ok(count)
        };
        assert_eq!(held.push(b"abcdef", &mut write), Ok((3, false)));
        assert_eq!(held.push(b"gh", &mut write), Ok((0, true)));
        let mut write = |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(bytes.len())
        };
        assert_eq!(held.drain(&mut write), Ok((5, true)));
        assert!(held.is_empty());
        assert_eq!(out, b"abcdefgh");
    }
}
