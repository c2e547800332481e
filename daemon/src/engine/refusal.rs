//! Why a request was not begun: a code, who has to act, which key, and a sentence.

use tlsify_protocol::{Blame, Code, MAX_DESCRIPTORS, MAX_PACKET};

use crate::io::DescriptorError;
use crate::policy::QuotaExceeded;
use crate::tls::{EchError, IdentityError, ParamsError, RootsError, SpecError};

/// Why a request was not begun.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) blame: Blame,
    pub(super) about: Option<String>,
    pub(super) text: String,
}

impl Refusal {
    /// With the blame that goes with the code.
    pub(super) fn new(code: Code, about: Option<&str>, text: String) -> Self {
        Self { code, blame: code.blame(), about: about.map(str::to_owned), text }
    }

    pub(super) fn internal(text: String) -> Self {
        Self::new(Code::Internal, None, text)
    }

    pub(super) fn packet_too_long() -> Self {
        Self::new(Code::PacketTooLong, None, format!("a packet has at most {MAX_PACKET} bytes"))
    }

    pub(super) fn descriptors_truncated() -> Self {
        let text =
            "not all descriptors of the packet could be received, the daemon may be out of descriptors";
        Self::new(Code::DescriptorsTruncated, Some("fds"), text.to_owned())
    }

    pub(super) fn descriptor_mismatch(named: usize, came: usize) -> Self {
        if came > MAX_DESCRIPTORS {
            let text =
                format!("{came} descriptors came with the packet, at most {MAX_DESCRIPTORS} are taken");
            return Self::new(Code::TooManyDescriptors, Some("fds"), text);
        }
        let text = format!("fds names {named} descriptors, and {came} came with the packet");
        Self::new(Code::DescriptorMismatch, Some("fds"), text)
    }

    pub(super) fn draining() -> Self {
        Self::new(Code::Draining, None, "the daemon is ending and takes no new sessions".to_owned())
    }

    pub(super) fn descriptor(name: &str, error: &DescriptorError) -> Self {
        let code = match error {
            DescriptorError::Kind { .. } => Code::DescriptorKind,
            DescriptorError::Unusable(_) | DescriptorError::TooLarge { .. } => Code::DescriptorUnreadable,
        };
        Self::new(code, Some(name), format!("the descriptor \"{name}\" {error}"))
    }

    pub(super) fn roots(error: &RootsError) -> Self {
        Self::new(Code::TrustUnusable, Some("ca"), error.to_string()).blaming(Blame::Caller)
    }

    pub(super) fn blaming(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }
}

impl From<QuotaExceeded> for Refusal {
    fn from(quota: QuotaExceeded) -> Self {
        Self::new(Code::Quota, None, quota.to_string())
    }
}

impl From<EchError> for Refusal {
    fn from(error: EchError) -> Self {
        Self::new(error.code(), Some(error.about()), error.to_string())
    }
}

impl From<IdentityError> for Refusal {
    fn from(error: IdentityError) -> Self {
        Self::new(error.code(), Some(error.about()), error.to_string())
    }
}

impl From<ParamsError> for Refusal {
    fn from(error: ParamsError) -> Self {
        Self::new(error.code(), Some(error.about()), error.to_string())
    }
}

impl From<SpecError> for Refusal {
    fn from(error: SpecError) -> Self {
        Self::new(error.code(), Some(error.about()), error.to_string())
    }
}
