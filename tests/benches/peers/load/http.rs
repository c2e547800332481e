//! As much HTTP/1.1 as the bench needs: three requests, and a response of which every byte is counted.

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Five bytes.
    Small,
    /// So many bytes to the client.
    Download(u64),
    /// So many bytes from the client.
    Upload(u64),
}

impl Ask {
    /// The request's head. `last` asks the server to end the session after its response.
    pub(crate) fn head(self, last: bool) -> String {
        let close = if last { "Connection: close\r\n" } else { "" };
        match self {
            Self::Small => format!("GET / HTTP/1.1\r\nHost: localhost\r\n{close}\r\n"),
            Self::Download(count) => format!("GET /bytes/{count} HTTP/1.1\r\nHost: localhost\r\n{close}\r\n"),
            Self::Upload(count) => {
                format!("PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {count}\r\n{close}\r\n")
            }
        }
    }

    /// How many bytes follow the head.
    pub(crate) fn body(self) -> u64 {
        match self {
            Self::Upload(count) => count,
            Self::Small | Self::Download(_) => 0,
        }
    }

    /// How long the response has to be; an upload's may be any.
    fn expected(self) -> Option<u64> {
        match self {
            Self::Small => Some(5),
            Self::Download(count) => Some(count),
            Self::Upload(_) => None,
        }
    }
}

/// A response on its way.
#[derive(Debug)]
pub(crate) struct Response {
    ask: Ask,
    /// The head as far as it has come; empty when it is complete.
    head: Vec<u8>,
    /// Bytes of the body still to come, once the head is complete.
    left: Option<u64>,
}

/// A head that is longer is none of our servers'.
const HEAD: usize = 4096;

impl Response {
    pub(crate) fn to(ask: Ask) -> Self {
        Self { ask, head: Vec::new(), left: None }
    }

    /// Whether all of it is there.
    pub(crate) fn done(&self) -> bool {
        self.left == Some(0)
    }

    /// Takes what came.
    ///
    /// # Errors
    /// A status that is no success, another length than was asked for, and bytes after the end.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        if self.left.is_none() {
            let known = self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD - known.min(HEAD))]);
            let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else {
                return if self.head.len() < HEAD { Ok(()) } else { Err("a head without an end".to_owned()) };
            };
            bytes = &bytes[end + 4 - known..];
            self.left = Some(length(&self.head[..end + 2], self.ask)?);
            self.head = Vec::new();
        }
        let left = self.left.unwrap_or_default();
        let count = bytes.len() as u64;
        if count > left {
            return Err(format!("{} bytes after the end of a response", count - left));
        }
        self.left = Some(left - count);
        Ok(())
    }
}

/// The length of the body that a head announces, if it is the response that was asked for.
fn length(head: &[u8], ask: Ask) -> Result<u64, String> {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    // A server with WebDAV answers an upload with "created" or "no content".
    let good = status == "200" || (ask.expected().is_none() && matches!(status, "201" | "204"));
    if !good {
        return Err(format!("status {status} to {ask:?}"));
    }
    let field = lines.filter_map(|line| line.split_once(':'));
    let mut lengths = field.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = match lengths.next() {
        Some((_, value)) => value.trim().parse().map_err(|_| format!("a length of {value}"))?,
        None if status == "204" => 0,
        None => return Err("a response without a length".to_owned()),
    };
    match ask.expected() {
        Some(expected) if expected != length => Err(format!("{length} bytes to {ask:?}")),
        _ => Ok(length),
    }
}
