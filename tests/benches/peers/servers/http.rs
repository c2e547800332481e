//! As much HTTP/1.1 as the servers need.

/// The end of a head.
pub(super) const END: &[u8] = b"\r\n\r\n";
/// A longer head is none of the load's.
pub(super) const MAX_HEAD: usize = 4096;
/// What an upload and a small request are answered with, kept open or not.
pub(super) const SMALL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
pub(super) const SMALL_LAST: &[u8] =
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

/// A request, as far as it decides what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) what: What,
    /// The session ends behind the response.
    pub(super) last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Small,
    /// So many bytes to the client.
    Download(u64),
    /// So many bytes from the client, behind the head.
    Upload(u64),
}

impl Request {
    /// Reads a whole head; `None` for what the load never says.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).ok()?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, path) = (words.next()?, words.next()?);
        let (mut last, mut length) = (false, 0);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("connection") {
                last = value.trim().eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
        }
        let what = match (method, path.strip_prefix("/bytes/")) {
            ("GET", Some(count)) => What::Download(count.parse().ok()?),
            ("GET", None) => What::Small,
            ("PUT", _) => What::Upload(length),
            _ => return None,
        };
        Some(Self { what, last })
    }

    /// What a small request and a whole upload are answered with.
    pub(super) fn answer(self) -> &'static [u8] {
        if self.last { SMALL_LAST } else { SMALL }
    }
}

/// The head in front of a download.
pub(super) fn download_head(count: u64, last: bool) -> String {
    let close = if last { "Connection: close\r\n" } else { "" };
    format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {count}\r\n\r\n")
}

/// Where a head ends in these bytes.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    // Nearly always at the very end.
    if bytes.ends_with(END) && !bytes[..bytes.len() - 1].windows(4).rev().skip(1).any(|four| four == END) {
        return Some(bytes.len());
    }
    bytes.windows(4).position(|four| four == END).map(|at| at + 4)
}
