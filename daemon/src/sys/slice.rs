//! How long a thread runs before others on its core get their turn.
#![allow(unsafe_code)]

use std::ptr;
use std::time::Duration;

/// Asks for time slices of this length for the calling thread, 0.1 to 100 ms (sched_setattr(2), Linux 6.12 and later). Its
/// share of the core stays the same, in smaller pieces. Says whether it has them now: a kernel that does not know it
/// goes on as before, and so does a thread whose policy the operator has chosen.
pub fn ask_for_slices(length: Duration) -> bool {
    let Some(mut attributes) = attributes() else { return false };
    if attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return false;
    }
    attributes.sched_runtime = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    let (this_thread, no_flags) = (0, 0);
    // SAFETY: the kernel reads as many bytes as the structure says it has, and keeps no pointer.
    unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, ptr::from_ref(&attributes), no_flags) };
    // A kernel that takes the call and does not know the slice leaves it at nothing.
    self::attributes().is_some_and(|now| now.sched_runtime == attributes.sched_runtime)
}

/// How the calling thread is scheduled.
fn attributes() -> Option<libc::sched_attr> {
    let size = u32::try_from(size_of::<libc::sched_attr>()).ok()?;
    let mut attributes = libc::sched_attr {
        size,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    let (this_thread, no_flags) = (0, 0);
    let into = ptr::from_mut(&mut attributes);
    // SAFETY: the kernel writes at most as many bytes as it is told, which is how large the structure is.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, this_thread, into, size, no_flags) };
    (done == 0).then_some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_had_or_said_not_to_be() {
        let wanted = Duration::from_millis(1);
        let had = std::thread::spawn(move || (ask_for_slices(wanted), attributes()));
        let (had, now) = had.join().expect("no panic");
        let now = now.map(|now| Duration::from_nanos(now.sched_runtime));
        assert_eq!(had, now == Some(wanted));
    }
}
