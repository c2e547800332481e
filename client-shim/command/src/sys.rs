//! The only room with unsafe code: how the program begins, what the compiler expects of a C library, and the few system
//! calls for which nobody can promise safety.
//!
//! Built freestanding, `_start` is the kernel's entry and leads to [`crate::run`]; built as an ordinary program, std's
//! `main` does, on the same terms: the arguments and the environment as the C strings that they are.

#![allow(unsafe_code)]

use core::arch::asm;
use core::ffi::{CStr, c_char};
use core::ptr;

use rustix::fd::{BorrowedFd, RawFd};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use tlsify_protocol::MAX_PACKET;

/// A vector of C strings as exec takes it: the arguments, the environment, or the end of one. They live as long as the
/// process and never change.
#[derive(Clone, Copy)]
pub(crate) struct Strings(*const *const c_char);

impl Iterator for Strings {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: the vector ends with a null pointer, and nothing moves past that one.
        let first = unsafe { *self.0 };
        if first.is_null() {
            return None;
        }
        // SAFETY: one element on is in the vector still, because this one is not its last.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: a vector of C strings that live as long as the process, as whoever made it promised.
        Some(unsafe { CStr::from_ptr(first) })
    }
}

impl Strings {
    /// The value of the variable `name`, in an environment; none when it is not set or empty. Only as much of each
    /// variable is looked at as is like the name: environments are long, and this is most of what a start would cost.
    pub(crate) fn variable(self, name: &CStr) -> Option<&'static CStr> {
        let mut at = self.0;
        loop {
            // SAFETY: the vector ends with a null pointer, and nothing moves past that one.
            let variable = unsafe { *at };
            if variable.is_null() {
                return None;
            }
            // SAFETY: the next element is in the vector still, because this one is not its last.
            at = unsafe { at.add(1) };
            let mut rest = variable;
            // SAFETY: a byte of the string or the NUL at its end, where comparing stops: the name holds none.
            let alike = name.to_bytes().iter().all(|&byte| unsafe { next(&mut rest) } == byte);
            // SAFETY: as above: it is alike up to here, so this is not behind its end.
            if alike && unsafe { next(&mut rest) } == b'=' {
                // SAFETY: what follows the `=` is the rest of the same C string.
                return Some(unsafe { CStr::from_ptr(rest) }).filter(|value| !value.is_empty());
            }
        }
    }
}

#[cfg(test)]
impl Strings {
    /// These, as long as the process lives.
    pub(crate) fn of(strings: &[&'static CStr]) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]);
        Self(Vec::leak(pointers.collect()).as_ptr())
    }
}

/// Reads a byte and moves on.
///
/// # Safety
/// `at` is in a C string, at its NUL at most.
unsafe fn next(at: &mut *const c_char) -> u8 {
    // SAFETY: promised by the caller.
    let byte = unsafe { **at };
    // SAFETY: one behind the NUL at most, which is not read.
    *at = unsafe { at.add(1) };
    byte as u8
}

/// How the program was called.
pub(crate) struct Call {
    /// The arguments, the program's own name first.
    pub(crate) arguments: Strings,
    /// `NAME=VALUE`.
    pub(crate) environment: Strings,
}

/// Variables that a program can be started with. Linux takes as many as fit into a quarter of the stack; the array is
/// not touched beyond what is used, so its size costs nothing.
const MAX_VARIABLES: usize = 8192;

/// The environment of a program to be started, put together from strings that outlive it.
pub(crate) struct Environment<'a> {
    pointers: [core::mem::MaybeUninit<*const u8>; MAX_VARIABLES + 1],
    used: usize,
    strings: core::marker::PhantomData<&'a CStr>,
}

impl<'a> Environment<'a> {
    pub(crate) const fn new() -> Self {
        Self {
            pointers: [const { core::mem::MaybeUninit::uninit() }; MAX_VARIABLES + 1],
            used: 0,
            strings: core::marker::PhantomData,
        }
    }

    /// Adds a variable; false when there are too many.
    pub(crate) fn push(&mut self, variable: &'a CStr) -> bool {
        if self.used == MAX_VARIABLES {
            return false;
        }
        self.pointers[self.used].write(variable.as_ptr().cast());
        self.used += 1;
        true
    }

    /// Becomes the program at `path`. Returns only with the reason why not.
    pub(crate) fn execute(&mut self, path: &CStr, arguments: Strings) -> Errno {
        self.pointers[self.used].write(ptr::null());
        // SAFETY: both end with a null pointer (the one just written, and that of a `Strings`), and hold C strings that
        // are borrowed for longer than this call.
        unsafe { execve(path, arguments.0.cast(), self.pointers.as_ptr().cast()) }
    }
}

/// Becomes the program at `path` with these few arguments and an environment as it is.
pub(crate) fn execute<const N: usize>(path: &CStr, arguments: [&CStr; N], environment: Strings) -> Errno {
    let mut pointers = [ptr::null::<u8>(); 8];
    // One place stays null: the vector's end.
    for (slot, argument) in pointers.iter_mut().take(7).zip(arguments) {
        *slot = argument.as_ptr().cast();
    }
    // SAFETY: both vectors end with a null pointer and hold C strings that are borrowed for longer than this call.
    unsafe { execve(path, pointers.as_ptr(), environment.0.cast()) }
}

/// # Safety
/// Both vectors hold pointers to C strings and end with a null pointer.
unsafe fn execve(path: &CStr, arguments: *const *const u8, environment: *const *const u8) -> Errno {
    let call = [path.as_ptr() as usize, arguments as usize, environment as usize, 0, 0];
    // SAFETY: it reads what the caller of this function promised, and does not come back when it succeeds.
    let result = unsafe { system_call(number::EXECVE, call) };
    result.err().unwrap_or(Errno::IO)
}

/// A second process like this one: `Ok(None)` in it, its id in this one.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // Not vfork's sharing of memory, nor a copy of it but on writing: the whole process is a few pages.
    let flags = usize::try_from(Signal::CHILD.as_raw()).unwrap_or(0);
    // SAFETY: this process has one thread, so there is no lock that somebody else could hold in the child, and the child
    // makes nothing but system calls until it is another program.
    let child = unsafe { system_call(number::CLONE, [flags, 0, 0, 0, 0]) }?;
    Ok(i32::try_from(child).ok().and_then(Pid::from_raw))
}

/// Ends the process.
pub(crate) fn exit(status: u8) -> ! {
    loop {
        // SAFETY: it takes a number, and does not come back.
        let _ = unsafe { system_call(number::EXIT_GROUP, [usize::from(status), 0, 0, 0, 0]) };
    }
}

/// Has every descriptor from `first` on closed when this process becomes another program. False before Linux 5.11, which
/// cannot do it in one go.
pub(crate) fn close_on_exec_from(first: u32) -> bool {
    const CLOSE_RANGE_CLOEXEC: usize = 4;
    let range = [first as usize, u32::MAX as usize, CLOSE_RANGE_CLOEXEC, 0, 0];
    // SAFETY: it sets a flag, and closes nothing now.
    unsafe { system_call(number::CLOSE_RANGE, range) }.is_ok()
}

/// The few system calls that rustix does not offer to programs, because with a C library they need its help.
#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const CLONE: usize = 56;
    pub(super) const EXECVE: usize = 59;
    pub(super) const EXIT_GROUP: usize = 231;
    pub(super) const CLOSE_RANGE: usize = 436;
    pub(super) const RT_SIGACTION: usize = 13;
}

/// As above; the numbers are those of every architecture that came after.
#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const CLONE: usize = 220;
    pub(super) const EXECVE: usize = 221;
    pub(super) const EXIT_GROUP: usize = 94;
    pub(super) const CLOSE_RANGE: usize = 436;
    pub(super) const RT_SIGACTION: usize = 134;
}

/// # Safety
/// The call with these arguments must be sound: what it reads through them is there, what it writes is ours.
unsafe fn system_call(number: usize, [a, b, c, d, e]: [usize; 5]) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the kernel's convention: the number in rax, the result too, rcx and r11 overwritten. The rest is promised
    // by whoever calls this.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: the kernel's convention: the number in x8, the result in x0, nothing else changed.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
            options(nostack),
        );
    }
    // The last page of numbers is errors.
    match usize::try_from(result) {
        Ok(value) => Ok(value),
        Err(_) => Err(i32::try_from(-result).map_or(Errno::IO, Errno::from_raw_os_error)),
    }
}

/// The descriptor with this number, which whoever started us has left open.
pub(crate) fn inherited(number: RawFd) -> Option<BorrowedFd<'static>> {
    if number < 0 {
        return None;
    }
    // SAFETY: not -1. Whether it is open is asked on the next line; and nothing in this program closes a descriptor that
    // it did not make, except just before it becomes another program.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_getfd(fd).is_ok().then_some(fd)
}

/// Closes an inherited descriptor. Comes just before becoming another program: nobody here uses it any more.
pub(crate) fn close_inherited(number: RawFd) {
    if inherited(number).is_some() {
        // SAFETY: it is open, and it is no descriptor that an `OwnedFd` of this program would close again: those are
        // never handed out as numbers.
        unsafe { rustix::io::close(number) };
    }
}

/// Makes descriptor `number` another name of `fd`, as a program that is started finds it.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    if rustix::fd::AsRawFd::as_raw_fd(&fd) == number {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: the number is wrapped for one call and then forgotten, never closed by the wrapper.
    let mut target = core::mem::ManuallyDrop::new(unsafe { rustix::fd::FromRawFd::from_raw_fd(number) });
    rustix::io::dup2(fd, &mut target)
}

/// Has a signal do what it does by default, here and in what is started from here.
pub(crate) fn default_action(signal: Signal) {
    set_action(signal, 0);
}

/// Has a signal do nothing, here and in what is started from here.
pub(crate) fn ignore(signal: Signal) {
    set_action(signal, 1);
}

/// `handler` is SIG_DFL, 0, or SIG_IGN, 1.
fn set_action(signal: Signal, handler: usize) {
    // Handler, flags, restorer and mask.
    let action = [handler, 0, 0, 0];
    let signal = usize::try_from(signal.as_raw()).unwrap_or(0);
    let call = [signal, action.as_ptr() as usize, 0, size_of::<u64>(), 0];
    // SAFETY: it reads the four words, and installs no handler of ours.
    let _ = unsafe { system_call(number::RT_SIGACTION, call) };
}

/// std's entry: the same as `entry` for a program with a C library.
#[cfg(not(freestanding))]
pub(crate) fn ordinary() -> u8 {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStringExt;

    fn strings(all: impl Iterator<Item = Vec<u8>>) -> Strings {
        // The kernel gave them as C strings, so there is no NUL in any.
        let strings =
            all.filter_map(|bytes| CString::new(bytes).ok()).map(|text| text.into_raw().cast_const());
        Strings(Vec::leak(strings.chain([ptr::null()]).collect()).as_ptr())
    }

    // std has it ignored, and whoever started us has perhaps not.
    default_action(Signal::PIPE);
    let variables = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name.into_vec()
    });
    let call = Call {
        arguments: strings(std::env::args_os().map(OsStringExt::into_vec)),
        environment: strings(variables),
    };
    crate::run(&call, Box::leak(Box::new([0; MAX_PACKET])))
}

// The kernel's entry, which leads to `entry`, and what the compiler calls by name where others have a C library.
#[cfg(all(freestanding, target_arch = "x86_64"))]
core::arch::global_asm!(include_str!("assembler/x86_64.s"), entry = sym entry);
#[cfg(all(freestanding, target_arch = "aarch64"))]
core::arch::global_asm!(include_str!("assembler/aarch64.s"), entry = sym entry);

/// The beginning without a C library: `stack` is as the kernel left it (System V ABI, process initialization):
/// the number of arguments, their addresses, a null, the environment's, a null.
#[cfg(freestanding)]
extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: the kernel's start of the stack.
    let count = unsafe { *stack };
    // SAFETY: the arguments follow their number.
    let arguments = unsafe { stack.add(1) };
    // SAFETY: the environment follows the arguments and their null.
    let environment = unsafe { arguments.add(count + 1) };
    let call = Call { arguments: Strings(arguments.cast()), environment: Strings(environment.cast()) };
    // In pages that cost nothing until they are written.
    static mut PACKET: [u8; MAX_PACKET] = [0; MAX_PACKET];
    let pages = &raw mut PACKET;
    // SAFETY: the only reference to it ever: nobody else can name it, and the kernel enters once.
    let buffer = unsafe { &mut *pages };
    exit(crate::run(&call, buffer))
}

/// A bug of ours: said, and the process is gone. What the kernel holds for us goes with it.
#[cfg(freestanding)]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::say::line(format_args!("internal error, please report it: {info}"));
    exit(crate::status::SYSTEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_the_first_of_its_name_and_of_no_name_that_only_begins_alike() {
        let environment = Strings::of(&[
            c"",
            c"PATH",
            c"PATHS=no",
            c"=",
            c"EMPTY=",
            c"PATH=a=b",
            c"PATH=second",
            c"LAST=1",
        ]);
        let value = |name: &CStr| environment.variable(name).map(CStr::to_bytes);
        assert_eq!(value(c"PATH"), Some(&b"a=b"[..]));
        assert_eq!(value(c"LAST"), Some(&b"1"[..]));
        for absent in [c"PAT", c"EMPTY", c"A-NAME-THAT-IS-LONGER-THAN-ANY"] {
            assert_eq!(value(absent), None, "{absent:?}");
        }
        assert_eq!(Strings::of(&[]).variable(c"PATH"), None);
    }

    #[test]
    fn a_number_that_is_not_open_is_no_descriptor() {
        assert!(inherited(2).is_some());
        assert!(inherited(-1).is_none() && inherited(i32::MAX).is_none());
    }
}
