//! A token behind a PKCS #11 module: a process that speaks the ssh-agent protocol to the keyholder and PKCS #11 to the token.
//!
//! ```text
//!  supervisor ── Channel: Serve, Pin ───────▶ link ─┐
//!                                                     ▼
//!  keyholder ══ Stream ══▶ serve (a thread each) ─▶ Desk ─▶ Policy: when it is opened
//!                                                     └──▶ Token ─▶ cryptoki ─▶ the vendor's module ─▶ the token
//! ```
//!
//! Why not in the keyholder: a module is C code of whoever made the token, with its own threads, files, sockets and
//! mistakes, and it is loaded into the process that uses it. In the keyholder it could read every other private key, and
//! would need the files and the network that the keyholder must not have. Here it can reach the one token that is its own,
//! and its crash ends its own signatures, until the process is started again.
//!
//! Speaks: the list of keys, SIGN_REQUEST, `rsa-pss@tlsifyd`, `last-failure@tlsifyd`. What may be signed is for the
//! keyholder to decide: it alone has the other ends.

mod desk;
pub mod link;
mod module;
mod pkcs11;
mod policy;
mod public;
mod serve;
#[cfg(test)]
mod tests;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::config::TokenName;
use crate::io::between::{Channel, ChannelError};
pub use module::Verdict;

use desk::Desk;
use link::{AskedPins, Order};
use pkcs11::ModuleToken;
use policy::Trouble;
use serve::Threads;

/// Which token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The signer's name, for the log.
    pub name: String,
    /// The module, a shared library.
    pub module: PathBuf,
    /// Which of its tokens.
    pub token: TokenName,
    /// Whether there is a PIN to log in with.
    pub pin: bool,
}

/// Serves until the supervisor closes the channel. Called once, in a process of its own that is confined by then; loads the
/// module when the first connection asks for something.
///
/// # Errors
/// The channel is broken.
pub fn serve(place: Place, channel: Channel) -> Result<(), ChannelError> {
    let channel = Arc::new(channel);
    let (pins, answers) = AskedPins::new(Arc::clone(&channel));
    let desk = Arc::new(Desk::new(&place.name.clone(), ModuleToken::new(place), Box::new(pins)));
    let threads = Threads::default();
    watch::start(threads.clone());
    loop {
        match channel.receive_by::<Order>(None) {
            Ok((Order::Serve, fds)) => {
                for fd in fds {
                    threads.serve(Arc::clone(&desk), fd);
                }
            }
            // Nobody waits: then nobody has it.
            Ok((Order::Pin(pin), _)) => drop(answers.send(Ok(Zeroizing::new(pin)))),
            Ok((Order::NoPin(why), _)) => drop(answers.send(Err(Trouble::Pin(why)))),
            Ok((Order::PinLater(why), _)) => drop(answers.send(Err(Trouble::Device(why)))),
            Err(ChannelError::Gone) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
