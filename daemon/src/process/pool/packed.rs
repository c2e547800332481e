//! Certificates as they lie in a memory file: each behind its length, four bytes, the lowest first.

/// As they lie there.
pub(super) fn pack(certificates: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(certificates.iter().map(|certificate| 4 + certificate.len()).sum());
    for certificate in certificates {
        // A file of 4 GiB is refused long before.
        packed.extend(u32::try_from(certificate.len()).unwrap_or(u32::MAX).to_le_bytes());
        packed.extend(certificate);
    }
    packed
}

/// Where each of them lies. `None` for anything else than what was packed.
pub(super) fn unpack(mut packed: &[u8]) -> Option<Vec<&[u8]>> {
    let mut certificates = Vec::new();
    while !packed.is_empty() {
        let (length, rest) = packed.split_first_chunk()?;
        let (certificate, rest) = rest.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)?;
        certificates.push(certificate);
        packed = rest;
    }
    Some(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_what_is_cut_off_is_not() {
        let all = [b"one".to_vec(), Vec::new(), vec![7; 300]];
        let packed = pack(&all);
        assert_eq!(unpack(&packed).unwrap(), all);
        for end in [1, 5, packed.len() - 1] {
            assert!(unpack(&packed[..end]).is_none(), "{end}");
        }
        assert_eq!(unpack(b"").unwrap(), Vec::<&[u8]>::new());
    }
}
