//! The only room with unsafe code: system interfaces that no crate we use offers safely.

mod inherit;

pub use inherit::{Inherited, inherit_descriptor};
