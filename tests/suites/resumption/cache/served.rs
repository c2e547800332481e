//! Clients that come again, with the real caches.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};

use rustls::{ClientConfig, KeyLog};
use tlsify_client::{Connect, Profile, Trust};
use tlsifyd_tests::openssl::s_client;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{CACHES, CacheServer, Door, Liar, Open, TempDir, pki, tcp_pair, tool};

use super::super::returning::{gnutls_returning, openssl_asking};
use super::super::served::{session, visitor, with_good};
use super::super::{EACH, good};
use super::{PATIENT, World, config, to_web};

#[test]
fn a_client_that_comes_again_resumes_out_of_either_cache() {
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        for versions in EACH {
            let (world, visitor) = (World::new(&cache.address()), visitor(versions));
            let before = cache.count();
            assert!(!world.visit(&visitor));
            let baseline = world.daemon.baseline();
            for _ in 0..3 {
                assert!(world.visit(&visitor), "{kind:?} {versions:?}");
                // A ticket of TLS 1.3 is deleted with its use, and a new one is there; TLS 1.2 goes on with one.
                assert_eq!(cache.count(), before + 1, "{kind:?} {versions:?}");
            }
            let counts = ["cache-hits", "cache-misses", "cache-refused", "cache-dropped", "accepted"];
            assert_eq!(world.counts(counts), [3, 0, 0, 0, 3]);
            world.daemon.settled_fds(&baseline);
        }
    }
}

#[test]
fn a_cache_at_a_port_of_the_network_serves_and_so_does_one_with_a_password() {
    for kind in CACHES {
        let Some(cache) = CacheServer::start_at_port(kind) else { return };
        let (world, visitor) = (World::new(&cache.address()), visitor(EACH[1]));
        assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true], "{kind:?}");
        // By its name, too, which is looked up off the loop.
        let named = cache.address().replace("127.0.0.1", "localhost");
        let world = World::new(&named);
        assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true], "{named}");
    }
    let Some(cache) = CacheServer::start_with_password("s3cret word") else { return };
    let dir = TempDir::new("password");
    let file = dir.path().join("password");
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options.write(true).create_new(true).mode(0o600).open(&file).unwrap();
    opened.write_all(b"s3cret word\n").unwrap();
    let visitor = visitor(EACH[0]);
    let with =
        |file: &str| World::with(config(&cache.address(), &format!("{PATIENT}\npassword-file = \"{file}\"")));
    let world = with(&file.display().to_string());
    assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true]);
    assert!(!world.daemon.log().contains("s3cret"));
    std::fs::write(&file, "another word\n").unwrap();
    let world = with(&file.display().to_string());
    assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, false]);
    let log = world.daemon.log();
    assert!(log.contains("is away: it refuses: WRONGPASS") && !log.contains("another word"), "{log}");
}

/// Collects what a client could decrypt its session with.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<Vec<u8>>>);

impl KeyLog for Secrets {
    fn log(&self, _: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push(secret.to_vec());
    }
}

#[test]
fn what_a_cache_holds_shows_neither_secret_nor_name() {
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let world = World::new(&cache.address());
        let secrets = Arc::new(Secrets::default());
        for versions in EACH {
            let mut config = ClientConfig::clone(&visitor(versions));
            config.key_log = secrets.clone();
            assert!(!world.visit(&Arc::new(config)));
        }
        let (entries, secrets) = (cache.entries(), secrets.0.lock().unwrap());
        // One of TLS 1.2, and four of TLS 1.3 at least.
        assert!(entries.len() == 2 && secrets.len() > 4, "{} {}", entries.len(), secrets.len());
        for (name, value) in entries {
            assert!(name.starts_with("tlsify:") && name.len() == 71, "{name}");
            let holds = |secret: &[u8]| value.windows(secret.len()).any(|part| part == secret);
            assert!(!secrets.iter().any(|secret| holds(&secret[..8])), "a secret is in the clear");
            assert!(!holds(SERVER_NAME.as_bytes()) && !holds(b"example"), "a name is in the clear");
        }
    }
}

#[test]
fn a_ticket_of_tls13_is_good_once_and_a_session_of_tls12_as_often_as_it_lives() {
    let Some(openssl) = tool("openssl") else { return };
    let dir = TempDir::new("sessions");
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let world = World::new(&cache.address());
        for version in ["-tls1_2", "-tls1_3"] {
            let [first, second] = ["one", "two"].map(|name| dir.path().join(name));
            let meet = |options: &[&str], out| {
                let resumed = openssl_asking(&world.client, &openssl, options, out, to_web);
                world.settle();
                resumed
            };
            // Without tickets of TLS 1.2: it comes with a session id.
            assert!(!meet(&[version, "-no_ticket"], &first), "{kind:?} {version}");
            let again = [version, "-no_ticket", "-sess_in", first.to_str().unwrap()];
            let each = [meet(&again, &second), meet(&again, &second), meet(&again, &second)];
            let wanted = if version == "-tls1_2" { [true; 3] } else { [true, false, false] };
            assert_eq!(each, wanted, "{kind:?} {version}");
        }
    }
}

/// Six times in one run, without tickets: by session id alone.
#[test]
fn openssl_that_reconnects_without_tickets_resumes_by_its_session_id() {
    let Some(openssl) = tool("openssl") else { return };
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let (world, door) = (World::new(&cache.address()), Door::open());
        let options = ["-tls1_2", "-no_ticket", "-reconnect", "-servername", SERVER_NAME];
        let mut tool = s_client(&openssl, door.port(), &options);
        for reconnects in 0..6 {
            let open = Open::new(world.client.accept(&to_web(door.next())).unwrap());
            assert_eq!(open.facts.resumed, reconnects > 0, "{kind:?}, {reconnects}");
            world.settle();
            if reconnects == 5 {
                tool.hang_up();
                open.rest();
            }
        }
    }
}

#[test]
fn gnutls_and_the_daemons_own_client_resume() {
    let Some(gnutls) = tool("gnutls-cli") else { return };
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let world = World::new(&cache.address());
        for version in ["1.2", "1.3"] {
            gnutls_returning(&world.client, &gnutls, version, to_web, || world.settle());
        }
        for resumes in [false, true, true] {
            let (near, far) = tcp_pair();
            let server = world.client.start_accept(&to_web(far)).unwrap();
            let connect = Connect::new(near).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd())).resume("mine");
            let client = Open::new(world.client.connect_tls(&connect).unwrap());
            let mut server = Open::new(server.wait().unwrap());
            assert_eq!((client.facts.resumed, server.facts.resumed), (resumes, resumes), "{kind:?}");
            // Behind the ticket.
            server.say("word");
            let mut client = client;
            client.hear("word");
            client.finish();
            server.finish();
            client.rest();
            server.rest();
            world.settle();
        }
    }
}

/// One thread for everything, the cache too.
#[test]
fn a_daemon_of_one_caller_uses_a_cache_as_well() {
    let Some(cache) = CacheServer::start(CACHES[0]) else { return };
    let world = World::private(config(&cache.address(), PATIENT));
    for versions in EACH {
        let visitor = visitor(versions);
        assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true]);
    }
}

/// Who did not ask to resume, brings its own profile, or has hidden the operator's behind one of its own.
#[test]
fn nobody_is_asked_for_a_session_that_does_not_resume_under_that_profile() {
    let liar = Liar::start();
    let world = World::new(&liar.address());
    for versions in EACH {
        let visitor = visitor(versions);
        for _ in 0..2 {
            assert!(!session(&world.client, &visitor, |request| request.profile("web")).resumed);
        }
        for resumed in [false, true] {
            let facts = session(&world.client, &visitor, |request| with_good(request).resume("own"));
            assert_eq!(facts.resumed, resumed);
        }
    }
    let own = Profile::server("web").certificate(good().certificate_fd()).key(good().key_fd());
    world.client.define(&own).unwrap();
    let visitor = visitor(EACH[1]);
    for resumed in [false, true] {
        let facts = session(&world.client, &visitor, |request| request.profile("web").resume("web"));
        assert_eq!(facts.resumed, resumed, "by a ticket");
    }
    assert_eq!(liar.asked(), 0);
}

/// What was never ours is no question: a ticket of before, an id that a client of TLS 1.3 makes up.
#[test]
fn what_no_cache_can_have_is_not_asked_for() {
    let liar = Liar::start();
    let world = World::new(&liar.address());
    for versions in EACH {
        let visitor = visitor(versions);
        assert!(!session(&world.client, &visitor, |request| with_good(request).resume("own")).resumed);
        assert!(!world.visit(&visitor));
    }
    assert_eq!(liar.asked(), 0);
}
