//! Why a part is not confined.

use super::{Feature, Part};

/// Why a part is not confined. Whoever meets it does not go on.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// `[sandbox] mode = "required"`, and the kernel is too old. The operator's to decide.
    #[error(
        "this kernel has no {}, and [sandbox] mode = \"required\" asks for it; a newer kernel has it, and \
         \"best-effort\" goes on without",
        list(.0)
    )]
    Lacking(Vec<Feature>),
    /// `[sandbox] worker-user` and its like. The operator's.
    #[error("{0}")]
    User(String),
    /// A step that this kernel knows went wrong.
    #[error("cannot confine the {part}: {doing}: {}", crate::process::reason(cause))]
    Step {
        /// Whose it is.
        part: Part,
        /// What we were doing.
        doing: &'static str,
        /// The system's word for it.
        cause: std::io::Error,
    },
    /// Called too late: what binds one thread would leave the others free. Ours.
    #[error("cannot confine the {part}: it has {threads} threads already")]
    Threads {
        /// Whose it is.
        part: Part,
        /// How many.
        threads: usize,
    },
}

impl SandboxError {
    /// Whether the configuration is what has to change.
    pub fn is_operators(&self) -> bool {
        matches!(self, Self::Lacking(_) | Self::User(_))
    }

    pub(super) fn step(part: Part, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::Step { part, doing, cause }
    }
}

fn list(features: &[Feature]) -> String {
    features.iter().map(|feature| feature.name()).collect::<Vec<_>>().join(", no ")
}
