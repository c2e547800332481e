//! Why there is no pool.

use super::place::PoolPlace;
use crate::tls::RootsError;

/// There is no CA certificate to trust. The operator has to act: install the system's certificates
/// (ca-certificates), or say where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolError {
    pub(super) place: PoolPlace,
    pub(super) cause: Cause,
}

impl std::fmt::Display for PoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot load the system's CA certificates from ")?;
        let places: Vec<_> = self
            .place
            .file
            .iter()
            .chain(&self.place.folders)
            .map(|path| path.display().to_string())
            .collect();
        match places.as_slice() {
            [] => f.write_str("anywhere: none of the usual places is there")?,
            places => write!(f, "{}: {}", places.join(" and "), self.cause)?,
        }
        f.write_str(", install ca-certificates or set SSL_CERT_FILE")
    }
}

impl std::error::Error for PoolError {}

/// What of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cause {
    /// The certificates.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The system, in whose memory they have to lie for others.
    #[error("{0}")]
    System(String),
}
