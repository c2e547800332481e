//! A terminal of the test's own.

use std::fs::File;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Where a person types and reads, and what programs have. With lines, echo and signals as terminals begin; it is
/// nobody's controlling terminal.
///
/// # Panics
/// When the machine has no terminal left.
pub fn terminal() -> (File, File) {
    let open = || -> rustix::io::Result<(File, File)> {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&person)?;
        unlockpt(&person)?;
        let name = ptsname(&person, Vec::new())?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok((File::from(person), File::from(rustix::fs::open(name, flags, Mode::empty())?)))
    };
    open().expect("a terminal is to be had")
}
