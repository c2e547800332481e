//! The only room with unsafe code: system interfaces that no crate we use offers safely.
//!
//! Each function wraps one call and decides nothing. A SAFETY sentence at each call names the
//! invariant and who keeps it. Everything that rustix or nix already offers safely is used from
//! there, in [`crate::io`].

mod cells;
mod confine;
#[cfg(debug_assertions)]
mod escape;
mod heap;
mod inherit;
mod mapped;
mod part;
mod slice;
mod sockopt;
mod watch;

pub use cells::SharedCells;
pub use confine::{can_deny_writable_code, can_kill_by_system_call, deny_writable_code, landlock_version};
#[cfg(debug_assertions)]
pub use escape::{Prepared, attempt, in_a_child};
pub use heap::{heap_end, keep_heap, one_heap};
pub use inherit::{Inherited, inherit_descriptor};
pub use mapped::map_sealed;
pub use part::{Forked, die_with, fork_part, spawn_part};
pub use slice::ask_for_slices;
pub use sockopt::{peer_groups, peer_process, refuse_descriptors};
pub use watch::{watch, watch_shared};
