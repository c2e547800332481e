//! Looking names up with the host's own resolver, beside the loop.
//!
//! getaddrinfo waits, for 10 s and more when a resolver is dead, and cannot be stopped: each look-up has a thread, and
//! the thread stays when nobody waits for it any more. So look-ups are counted, and who comes later waits for its turn.
//! The wait is part of the session's handshake timeout.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use dns_lookup::{AddrFamily, AddrInfoHints, SockType, getaddrinfo};
use tlsify_protocol::Code;
use tokio::sync::{Semaphore, oneshot};

use super::race::Family;
use crate::tls::Failure;

/// Look-ups of one uid at the same time. With a resolver that takes 50 ms this is 640 names in a second; with a dead
/// one, one uid has this many threads at rest.
const PER_USER: usize = 32;

/// Look-ups of all together: eight uids that all meet a dead resolver leave a ninth waiting, and a thread at rest costs
/// about 20 KiB.
const TOTAL: usize = 256;

/// The stack of a look-up's thread. Modules of the name service are other people's code: those of the C library need
/// less than a quarter of this.
const STACK: usize = 512 * 1024;

/// netdb.h of the GNU library: the name is there, with no address of the family that was asked for.
const EAI_ADDRFAMILY: i32 = -9;

/// The host's resolver, as all workers share it.
#[derive(Debug)]
pub struct Resolver {
    total: Arc<Semaphore>,
    users: Mutex<HashMap<u32, Weak<Semaphore>>>,
}

impl Default for Resolver {
    fn default() -> Self {
        Self { total: Arc::new(Semaphore::new(TOTAL)), users: Mutex::default() }
    }
}

impl Resolver {
    /// The addresses of `name` in these families, as the resolver sorts them, with `port`. Dropping the future gives
    /// up the wait; a thread that runs already keeps its place until the resolver has answered it.
    ///
    /// # Errors
    /// [`Code::HostNotFound`], [`Code::NameLookupFailed`]; [`Code::Internal`] without a thread to be had.
    pub async fn look_up(
        &self,
        uid: u32,
        name: &str,
        port: u16,
        families: &[Family],
    ) -> Result<Vec<SocketAddr>, Failure> {
        // The uid's own turn first: what waits behind it takes nobody else's place.
        let turns = (self.user(uid).acquire_owned().await, Arc::clone(&self.total).acquire_owned().await);
        let (answer, answered) = oneshot::channel();
        let wanted = name.to_owned();
        let family = only(families);
        let work = move || {
            let found = ask(&wanted, port, family);
            drop(turns);
            // Nobody waits any more: the session was given up.
            let _ = answer.send(found);
        };
        let started = thread::Builder::new().name("look-up".to_owned()).stack_size(STACK).spawn(work);
        if let Err(error) = started {
            return Err(Failure::internal(format!("starting a thread for a name look-up: {error}")));
        }
        let lost = || Err(Failure::internal(format!("the look-up of \"{name}\" broke off")));
        answered.await.unwrap_or_else(|_| lost())
    }

    /// The turns of one uid. Forgotten when none is taken or waited for, so that they are as many as are in use.
    fn user(&self, uid: u32) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = users.get(&uid).and_then(Weak::upgrade) {
            return turns;
        }
        users.retain(|_, turns| turns.strong_count() > 0);
        let turns = Arc::new(Semaphore::new(PER_USER));
        users.insert(uid, Arc::downgrade(&turns));
        turns
    }
}

/// The one family to ask for, if there is only one: half the questions, and none whose answer nobody can use.
fn only(families: &[Family]) -> Option<Family> {
    match (families.contains(&Family::V6), families.contains(&Family::V4)) {
        (true, false) => Some(Family::V6),
        (false, true) => Some(Family::V4),
        _ => None,
    }
}

fn ask(name: &str, port: u16, family: Option<Family>) -> Result<Vec<SocketAddr>, Failure> {
    // No AI_ADDRCONFIG: which addresses the daemon's own namespace has says nothing about that of the sockets, and
    // it would hide ::1 on a host that has no other IPv6.
    let hints = AddrInfoHints {
        address: match family {
            Some(Family::V6) => AddrFamily::Inet6.into(),
            Some(Family::V4) => AddrFamily::Inet.into(),
            None => 0,
        },
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|error| {
        // Read before anything else can change errno.
        let number = error.error_num();
        explain(name, family, number, &std::io::Error::from(error))
    })?;
    let addresses = found.flatten().map(|mut info| {
        info.sockaddr.set_port(port);
        info.sockaddr
    });
    Ok(addresses.collect())
}

fn explain(name: &str, family: Option<Family>, number: i32, error: &std::io::Error) -> Failure {
    let (code, why) = match number {
        libc::EAI_NONAME => (Code::HostNotFound, "there is no such name".to_owned()),
        libc::EAI_NODATA | EAI_ADDRFAMILY => (Code::HostNotFound, no_address(family).to_owned()),
        libc::EAI_AGAIN => (Code::NameLookupFailed, "the resolver has no answer now".to_owned()),
        libc::EAI_FAIL => (Code::NameLookupFailed, "the resolver says that it never will".to_owned()),
        _ => (Code::NameLookupFailed, error.to_string()),
    };
    Failure::new(code, format!("cannot look up \"{name}\": {why}"))
}

/// What a name lacks that has nothing of use.
pub(super) fn no_address(family: Option<Family>) -> &'static str {
    match family {
        Some(Family::V6) => "it has no IPv6 address, and the request brought no socket for others",
        Some(Family::V4) => "it has no IPv4 address, and the request brought no socket for others",
        None => "it has no address",
    }
}

/// As [`no_address`], for the families of the sockets of a request.
pub(super) fn no_address_of(families: &[Family]) -> &'static str {
    no_address(only(families))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    #[test]
    fn loopback_is_found_on_a_host_that_has_nothing_else() {
        let resolver = Resolver::default();
        let found = runtime().block_on(resolver.look_up(1, "localhost", 443, &[Family::V4]));
        assert_eq!(found.expect("every host has it"), ["127.0.0.1:443".parse().unwrap()]);
        assert_eq!(resolver.total.available_permits(), TOTAL, "the turn is given back first");
    }

    #[test]
    fn a_user_whose_look_ups_hang_leaves_room_for_others() {
        let resolver = Resolver::default();
        runtime().block_on(async {
            // As if the resolver were dead for one uid.
            let hanging = resolver.user(1).acquire_many_owned(PER_USER.try_into().unwrap()).await.unwrap();
            let own = resolver.look_up(1, "localhost", 1, &[Family::V4]);
            assert!(tokio::time::timeout(Duration::from_millis(20), own).await.is_err(), "it waits");
            assert!(resolver.look_up(2, "localhost", 1, &[Family::V4]).await.is_ok());
            drop(hanging);
            assert!(resolver.look_up(1, "localhost", 1, &[Family::V4]).await.is_ok());
        });
    }

    #[test]
    fn users_who_look_nothing_up_are_forgotten() {
        let resolver = Resolver::default();
        for uid in 0..1000 {
            drop(resolver.user(uid));
        }
        assert_eq!(resolver.users.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_name_that_is_not_there_is_told_from_a_resolver_that_is_not() {
        let code = |number| explain("a.example", None, number, &std::io::Error::other("x")).code;
        for number in [libc::EAI_NONAME, libc::EAI_NODATA, EAI_ADDRFAMILY] {
            assert_eq!(code(number), Code::HostNotFound, "{number}");
        }
        for number in [libc::EAI_AGAIN, libc::EAI_FAIL, libc::EAI_SYSTEM, libc::EAI_MEMORY] {
            assert_eq!(code(number), Code::NameLookupFailed, "{number}");
        }
    }
}
