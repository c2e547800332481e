//! Threads of the supervisor that landlock does not bind.
//!
//! Landlock lets nobody open below a folder that came as a descriptor from a process outside its rules, nor ask which program
//! such a process is. The supervisor does both for callers, with what they sent it: these places cannot be named before. So
//! what answers such questions runs on threads from here. They are in the same memory as the others: that keeps apart what
//! may be opened, and would not keep out somebody who runs code in the supervisor.

use std::io;
use std::sync::mpsc;
use std::thread;

type Job = Box<dyn FnOnce() + Send>;

/// Starts them. Dropped, no more are started; those that run go on.
#[derive(Clone, Debug)]
pub struct Beside(mpsc::Sender<Job>);

impl Beside {
    /// The thread that starts the others, which is free as long as this one still is.
    pub(super) fn start() -> io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        thread::Builder::new().name("beside".to_owned()).spawn(move || {
            for job in waiting {
                // Without a thread its answer does not come, and whoever asked hears that nobody has one.
                let _ = thread::Builder::new().name("beside".to_owned()).spawn(job);
            }
        })?;
        Ok(Self(jobs))
    }

    /// Runs `job` on a thread of its own; threads that it starts are as free. Without a free thread it is dropped.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The thread that takes it ends only after the last sender.
        let _ = self.0.send(Box::new(job));
    }
}
