//! RESP2, the protocol of Redis, as far as our few commands need it: a command is an array of bulk strings, and each
//! answer is one line, or a bulk string.

use super::{Asked, Broken, Read, Reply, length, line, value};

/// A command of these words, each any bytes.
pub fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    head(out, b'*', words.len());
    for word in words {
        head(out, b'$', word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// `AUTH`, with a user or as the default one.
pub fn auth(out: &mut Vec<u8>, user: Option<&str>, password: &[u8]) {
    match user {
        Some(user) => command(out, &[b"AUTH", user.as_bytes(), password]),
        None => command(out, &[b"AUTH", password]),
    }
}

/// `SELECT`, another database than 0.
pub fn select(out: &mut Vec<u8>, database: u32) {
    command(out, &[b"SELECT", database.to_string().as_bytes()]);
}

fn head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    out.extend_from_slice(count.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Reads one answer.
///
/// # Errors
/// [`Broken`]. An array is among it, and whatever came after RESP2: nothing that we say is answered by one.
pub fn read<'a>(bytes: &'a [u8], asked: Asked<'_>) -> Read<'a> {
    let Some((first, used)) = line(bytes)? else { return Ok(None) };
    let Some((kind, rest)) = first.split_first() else { return Err(Broken::Nonsense) };
    let reply = match (asked, kind, rest) {
        (_, b'-', why) => Reply::Refused(why),
        (Asked::Get(_), b'$', b"-1") => Reply::Absent,
        (Asked::Get(_), b'$', digits) => {
            let whole = value(bytes, used, length(digits)?)?;
            return Ok(whole.map(|(value, used)| (Reply::Value(value), used)));
        }
        (Asked::Set | Asked::Setup, b'+', b"OK") | (Asked::Probe, b'+', b"PONG") => Reply::Done,
        (Asked::Delete, b':', b"1") => Reply::Deleted(true),
        (Asked::Delete, b':', b"0") => Reply::Deleted(false),
        _ => return Err(Broken::Nonsense),
    };
    Ok(Some((reply, used)))
}

#[cfg(test)]
mod tests {
    use super::super::MAX_VALUE;
    use super::*;

    const GET: Asked<'_> = Asked::Get("tlsify:0a");

    #[track_caller]
    fn reads(bytes: &[u8], asked: Asked<'_>, wanted: Reply<'_>) {
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut], asked), Ok(None), "the first {cut} bytes");
        }
        assert_eq!(read(bytes, asked), Ok(Some((wanted, bytes.len()))));
        let more = [bytes, b"$-1\r\n"].concat();
        assert_eq!(read(&more, asked), Ok(Some((wanted, bytes.len()))));
    }

    #[test]
    fn each_answer_is_read_wherever_it_is_cut() {
        reads(b"$5\r\na\r\n$b\r\n", GET, Reply::Value(b"a\r\n$b"));
        reads(b"$0\r\n\r\n", GET, Reply::Value(b""));
        reads(b"$-1\r\n", GET, Reply::Absent);
        reads(b"+OK\r\n", Asked::Set, Reply::Done);
        reads(b"+OK\r\n", Asked::Setup, Reply::Done);
        reads(b"+PONG\r\n", Asked::Probe, Reply::Done);
        reads(b":1\r\n", Asked::Delete, Reply::Deleted(true));
        reads(b":0\r\n", Asked::Delete, Reply::Deleted(false));
        for asked in [GET, Asked::Set, Asked::Delete, Asked::Probe, Asked::Setup] {
            reads(b"-NOAUTH no\r\n", asked, Reply::Refused(b"NOAUTH no"));
        }
    }

    #[test]
    fn what_answers_something_else_is_not_believed() {
        for (bytes, asked) in [
            (&b"+OK\r\n"[..], GET),
            (b"$1\r\nxy\r\n", GET),
            (b"$-2\r\n", GET),
            (b"$\r\n", GET),
            (b"$-1\r\n", Asked::Set),
            (b"+QUEUED\r\n", Asked::Set),
            (b":2\r\n", Asked::Delete),
            (b"+PONG\r\n", Asked::Setup),
            (b"*1\r\n$1\r\nx\r\n", GET),
            (b"_\r\n", GET),
            (b"END\r\n", GET),
            (b"\r\n", GET),
        ] {
            assert_eq!(read(bytes, asked), Err(Broken::Nonsense), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_a_byte_of_it_came() {
        assert_eq!(read(format!("${MAX_VALUE}\r\n").as_bytes(), GET), Ok(None));
        for length in [MAX_VALUE as u64 + 1, 512 * 1024 * 1024, u64::MAX] {
            assert_eq!(read(format!("${length}\r\n").as_bytes(), GET), Err(Broken::TooLong(length)));
        }
    }

    #[test]
    fn commands_are_what_the_protocol_says() {
        let mut out = Vec::new();
        auth(&mut out, None, b"s e c");
        auth(&mut out, Some("me"), b"x");
        select(&mut out, 2);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "*2\r\n$4\r\nAUTH\r\n$5\r\ns e c\r\n*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$1\r\nx\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"
        );
    }
}
