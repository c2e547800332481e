//! What an answer of the daemon may hold beside what.

use super::descriptors::answer_fds;
use super::{Checked, bad, conflict, missing};
use crate::limits::MAX_EXPORTS;
use crate::message::{Ended, Established, Failed, StatusAnswer};
use crate::value::{Code, FdName, How};

pub(crate) fn failed(failed: &Failed<'_>) -> Checked {
    match failed.code {
        Code::Learned if failed.spki_sha256.is_none() => return missing("spki-sha256", "code=learned"),
        Code::Learned if failed.would.is_none() => return missing("would", "code=learned"),
        Code::Learned | Code::Other => {}
        _ if failed.would.is_some() => return conflict("would", "it comes with code=learned only"),
        _ if !failed.notes.is_empty() => return conflict("note", "it comes with code=learned only"),
        _ => {}
    }
    if failed.ech_retry.is_some() && failed.code != Code::EchRejected {
        return conflict("ech-retry", "it comes with code=ech-rejected only");
    }
    answer_fds(failed.fds, &[FdName::Chain])
}

pub(crate) fn established(established: &Established<'_>) -> Checked {
    if established.exports.len() > MAX_EXPORTS {
        return bad("export", "at most 8 exports");
    }
    answer_fds(established.fds, &[FdName::Plain, FdName::Chain])
}

pub(crate) fn ended(ended: &Ended<'_>) -> Checked {
    match ended.how {
        How::Alert if ended.alert.is_none() => return missing("alert", "how=alert"),
        How::Error if ended.code.is_none() => return missing("code", "how=error"),
        How::Error if ended.blame.is_none() => return missing("blame", "how=error"),
        _ => {}
    }
    if !matches!(ended.how, How::Error | How::Other) && (ended.code.is_some() || ended.blame.is_some()) {
        return conflict("code", "code and blame come with how=error only");
    }
    Ok(())
}

pub(crate) fn status_answer(status: &StatusAnswer<'_>) -> Checked {
    answer_fds(status.fds, &[FdName::Sessions, FdName::Stores, FdName::Callers])
}
