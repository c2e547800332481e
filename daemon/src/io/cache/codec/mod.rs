//! What is said to a cache, and what it answers, as bytes: no I/O, nothing of ours is used, so the fuzz targets are
//! made of these files alone.
//!
//! ```text
//!  get, set, delete, probe ──▶ bytes behind each other ──▶ cache
//!  Reply ◀── read(bytes so far, what was asked) ◀───────── cache        None: not whole yet
//!              └─▶ Broken: what came cannot be an answer to this; the connection is of no more use
//! ```
//!
//! Answers come from somebody whom we do not trust. They come in the order of the commands, so each is read as the answer
//! to one command; what it cannot be is [`Broken`]. A value is refused by its length as soon as that is there, and a line
//! by the length it has reached: nobody makes us keep more than [`MAX_ANSWER`] bytes, and no number of theirs is ever
//! allocated.
//!
//! Why no crate: redis and fred read an answer of any length that it announces, and the memcached ones have one command
//! under way at a time, too. These few commands are less than what it would take to fence them in.

pub mod memcached;
pub mod redis;

/// The longest value that is taken, in bytes. A session's state has some 150, with a long name 400.
pub const MAX_VALUE: usize = 16 * 1024;
/// The longest line that is taken, without its end. What a VALUE line says is 300 bytes at most; an error, a sentence.
pub const MAX_LINE: usize = 512;
/// The longest answer that is taken: a value between two lines, each with its end.
pub const MAX_ANSWER: usize = MAX_VALUE + 2 * (MAX_LINE + 2) + 2;

/// Which of the two languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// The text protocol of memcached.
    Memcached,
    /// RESP2, as Redis and those that are like it speak it.
    Redis,
}

/// A command that an answer is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// The value of this name.
    Get(&'a str),
    /// To keep one.
    Set,
    /// To forget one.
    Delete,
    /// Whether anybody is there.
    Probe,
    /// Redis only: a password, or another database.
    Setup,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// To a get: this is it.
    Value(&'a [u8]),
    /// To a get: there is none.
    Absent,
    /// To a set, a probe, a setup: yes.
    Done,
    /// To a delete: whether it was there.
    Deleted(bool),
    /// To any: the cache will not, and says why. The connection goes on.
    Refused(&'a [u8]),
}

/// Why what came cannot be an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A value longer than [`MAX_VALUE`]: so many bytes.
    TooLong(u64),
    /// A line longer than [`MAX_LINE`].
    Line,
    /// Something else than what was asked for, or not in the protocol at all.
    Nonsense,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(length) => {
                write!(f, "it announced a value of {length} bytes, and at most {MAX_VALUE} are taken")
            }
            Self::Line => write!(f, "it sent a line of more than {MAX_LINE} bytes"),
            Self::Nonsense => f.write_str("its answer is none to what was asked"),
        }
    }
}

/// What was read, and how many bytes it was; `None` while it is not whole.
pub type Read<'a> = Result<Option<(Reply<'a>, usize)>, Broken>;

impl Dialect {
    /// Asks for the value of a name: 1 to 250 of visible ASCII, as for all of these.
    pub fn get(self, out: &mut Vec<u8>, name: &str) {
        match self {
            Self::Memcached => memcached::get(out, name),
            Self::Redis => redis::command(out, &[b"GET", name.as_bytes()]),
        }
    }

    /// Asks to keep a value for `life` seconds, 30 days at most.
    pub fn set(self, out: &mut Vec<u8>, name: &str, value: &[u8], life: u32) {
        match self {
            Self::Memcached => memcached::set(out, name, value, life),
            Self::Redis => {
                let life = life.to_string();
                redis::command(out, &[b"SET", name.as_bytes(), value, b"EX", life.as_bytes()]);
            }
        }
    }

    /// Asks to forget a value.
    pub fn delete(self, out: &mut Vec<u8>, name: &str) {
        match self {
            Self::Memcached => memcached::delete(out, name),
            Self::Redis => redis::command(out, &[b"DEL", name.as_bytes()]),
        }
    }

    /// Asks whether anybody is there.
    pub fn probe(self, out: &mut Vec<u8>) {
        match self {
            Self::Memcached => memcached::version(out),
            Self::Redis => redis::command(out, &[b"PING"]),
        }
    }

    /// Reads the answer to `asked` from the front of what has come.
    ///
    /// # Errors
    /// [`Broken`]: it is none.
    pub fn read<'a>(self, bytes: &'a [u8], asked: Asked<'_>) -> Read<'a> {
        match self {
            Self::Memcached => memcached::read(bytes, asked),
            Self::Redis => redis::read(bytes, asked),
        }
    }
}

/// The first line without its end, and the bytes of both.
fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Broken> {
    // One more than the longest, and the two of its end.
    let looked_at = &bytes[..bytes.len().min(MAX_LINE + 2)];
    match looked_at.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => Ok(Some((&bytes[..end], end + 2))),
        None if bytes.len() >= MAX_LINE + 2 => Err(Broken::Line),
        None => Ok(None),
    }
}

/// A length as both protocols write it: decimal digits, and never more than can be taken.
fn length(digits: &[u8]) -> Result<usize, Broken> {
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Broken::Nonsense);
    }
    let number =
        digits.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    match number {
        Some(number) if number <= MAX_VALUE as u64 => Ok(usize::try_from(number).unwrap_or(MAX_VALUE)),
        number => Err(Broken::TooLong(number.unwrap_or(u64::MAX))),
    }
}

/// A value of so many bytes with the end of line behind it, that begins at `start`.
fn value(bytes: &[u8], start: usize, length: usize) -> Result<Option<(&[u8], usize)>, Broken> {
    let end = start + length;
    let Some(value) = bytes.get(start..end) else { return Ok(None) };
    match bytes.get(end..) {
        Some([b'\r', b'\n', ..]) => Ok(Some((value, end + 2))),
        Some([] | [b'\r']) | None => Ok(None),
        Some(_) => Err(Broken::Nonsense),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_bounded_whether_its_end_comes_or_not() {
        let with = |length: usize, end: &[u8]| [&vec![b'x'; length][..], end].concat();
        assert_eq!(line(&with(MAX_LINE, b"\r\n")), Ok(Some((&with(MAX_LINE, b"")[..], MAX_LINE + 2))));
        assert_eq!(line(&with(MAX_LINE, b"\r")), Ok(None));
        assert_eq!(line(&with(MAX_LINE + 1, b"\r\n")), Err(Broken::Line));
        assert_eq!(line(&with(MAX_LINE * 100, b"")), Err(Broken::Line));
    }

    #[test]
    fn no_length_of_theirs_is_believed_beyond_ours() {
        assert_eq!(length(b"16384"), Ok(MAX_VALUE));
        assert_eq!(length(b"16385"), Err(Broken::TooLong(16385)));
        assert_eq!(length(b"18446744073709551615"), Err(Broken::TooLong(u64::MAX)));
        assert_eq!(length(b"99999999999999999999"), Err(Broken::TooLong(u64::MAX)));
        for wrong in [&b""[..], b"-1", b"+1", b"1 ", b"0x10", b"000000000000000000001"] {
            assert_eq!(length(wrong), Err(Broken::Nonsense), "{wrong:?}");
        }
    }
}
