//! The text protocol of memcached (protocol.txt of its sources, "Storage commands" and "Retrieval command").

use super::{Asked, Broken, Read, Reply, length, line, value};

/// `get`
pub fn get(out: &mut Vec<u8>, name: &str) {
    words(out, &["get", name]);
}

/// `set`, without flags. Up to 30 days are counted from now.
pub fn set(out: &mut Vec<u8>, name: &str, value: &[u8], life: u32) {
    words(out, &["set", name, "0", &life.to_string(), &value.len().to_string()]);
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// `delete`
pub fn delete(out: &mut Vec<u8>, name: &str) {
    words(out, &["delete", name]);
}

/// `version`, which every one answers, and which changes nothing.
pub fn version(out: &mut Vec<u8>) {
    words(out, &["version"]);
}

fn words(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(words.join(" ").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Reads one answer.
///
/// # Errors
/// [`Broken`]. `ERROR` and `CLIENT_ERROR` are among it: we say nothing that is none of its commands, so it took something
/// else than we said.
pub fn read<'a>(bytes: &'a [u8], asked: Asked<'_>) -> Read<'a> {
    let Some((first, used)) = line(bytes)? else { return Ok(None) };
    let reply = match (asked, first) {
        (Asked::Get(name), first) if first.starts_with(b"VALUE ") => {
            return read_value(bytes, first, used, name);
        }
        (Asked::Get(_), b"END") => Reply::Absent,
        (Asked::Set, b"STORED") => Reply::Done,
        (Asked::Delete, b"DELETED") => Reply::Deleted(true),
        (Asked::Delete, b"NOT_FOUND") => Reply::Deleted(false),
        (Asked::Probe, version) if version.starts_with(b"VERSION ") => Reply::Done,
        (Asked::Get(_) | Asked::Set | Asked::Delete | Asked::Probe, first) => {
            match first.strip_prefix(b"SERVER_ERROR ") {
                Some(why) => Reply::Refused(why),
                None => return Err(Broken::Nonsense),
            }
        }
        // There is nothing to set up.
        (Asked::Setup, _) => return Err(Broken::Nonsense),
    };
    Ok(Some((reply, used)))
}

/// `VALUE name flags length`, the value, `END`.
fn read_value<'a>(bytes: &'a [u8], first: &[u8], used: usize, name: &str) -> Read<'a> {
    let mut words = first.split(|byte| *byte == b' ').skip(1);
    let (theirs, flags, digits) = (words.next(), words.next(), words.next());
    let zero = flags == Some(b"0");
    // Another's value is not only of no use: whatever answers like this is out of step.
    if theirs != Some(name.as_bytes()) || !zero || words.next().is_some() {
        return Err(Broken::Nonsense);
    }
    let length = length(digits.unwrap_or_default())?;
    let Some((value, used)) = value(bytes, used, length)? else { return Ok(None) };
    let Some((last, end)) = line(&bytes[used..])? else { return Ok(None) };
    if last != b"END" {
        return Err(Broken::Nonsense);
    }
    Ok(Some((Reply::Value(value), used + end)))
}

#[cfg(test)]
mod tests {
    use super::super::MAX_VALUE;
    use super::*;

    const NAME: &str = "tlsify:0a";

    /// Cut anywhere, an answer is not whole; with more behind it, it is the same.
    #[track_caller]
    fn reads(bytes: &[u8], asked: Asked<'_>, wanted: Reply<'_>) {
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut], asked), Ok(None), "the first {cut} bytes");
        }
        assert_eq!(read(bytes, asked), Ok(Some((wanted, bytes.len()))));
        let more = [bytes, b"END\r\n"].concat();
        assert_eq!(read(&more, asked), Ok(Some((wanted, bytes.len()))));
    }

    #[test]
    fn each_answer_is_read_wherever_it_is_cut() {
        reads(b"VALUE tlsify:0a 0 5\r\n\r\nEND\r\nEND\r\n", Asked::Get(NAME), Reply::Value(b"\r\nEND"));
        reads(b"VALUE tlsify:0a 0 0\r\n\r\nEND\r\n", Asked::Get(NAME), Reply::Value(b""));
        reads(b"END\r\n", Asked::Get(NAME), Reply::Absent);
        reads(b"STORED\r\n", Asked::Set, Reply::Done);
        reads(b"SERVER_ERROR out of memory\r\n", Asked::Set, Reply::Refused(b"out of memory"));
        reads(b"DELETED\r\n", Asked::Delete, Reply::Deleted(true));
        reads(b"NOT_FOUND\r\n", Asked::Delete, Reply::Deleted(false));
        reads(b"VERSION 1.6.18\r\n", Asked::Probe, Reply::Done);
    }

    #[test]
    fn what_answers_something_else_is_not_believed() {
        for (bytes, asked) in [
            (&b"STORED\r\n"[..], Asked::Get(NAME)),
            (b"END\r\n", Asked::Set),
            (b"DELETED\r\n", Asked::Probe),
            (b"VALUE tlsify:0b 0 1\r\nx\r\nEND\r\n", Asked::Get(NAME)),
            (b"VALUE tlsify:0a 1 1\r\nx\r\nEND\r\n", Asked::Get(NAME)),
            (b"VALUE tlsify:0a 0 1 7\r\nx\r\nEND\r\n", Asked::Get(NAME)),
            (b"VALUE tlsify:0a 0\r\nx\r\nEND\r\n", Asked::Get(NAME)),
            (b"VALUE tlsify:0a 0 1\r\nxyEND\r\n", Asked::Get(NAME)),
            (b"VALUE tlsify:0a 0 1\r\nx\r\nVALUE tlsify:0b 0 1\r\nx\r\nEND\r\n", Asked::Get(NAME)),
            (b"ERROR\r\n", Asked::Set),
            (b"CLIENT_ERROR bad data chunk\r\n", Asked::Set),
            (b"HTTP/1.1 400 Bad Request\r\n", Asked::Get(NAME)),
            (b"\r\n", Asked::Probe),
        ] {
            assert_eq!(read(bytes, asked), Err(Broken::Nonsense), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_a_byte_of_it_came() {
        let announced = |length: u64| format!("VALUE {NAME} 0 {length}\r\n").into_bytes();
        assert_eq!(read(&announced(MAX_VALUE as u64), Asked::Get(NAME)), Ok(None));
        for length in [MAX_VALUE as u64 + 1, u64::from(u32::MAX), u64::MAX] {
            assert_eq!(read(&announced(length), Asked::Get(NAME)), Err(Broken::TooLong(length)));
        }
    }

    #[test]
    fn commands_are_what_the_protocol_says() {
        let mut out = Vec::new();
        get(&mut out, NAME);
        set(&mut out, NAME, b"a\r\nb", 43_200);
        delete(&mut out, NAME);
        version(&mut out);
        let text = "get tlsify:0a\r\nset tlsify:0a 0 43200 4\r\na\r\nb\r\ndelete tlsify:0a\r\nversion\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
