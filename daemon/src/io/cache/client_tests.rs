//! A client and caches that are made up: silent ones, absent ones, ones that come back. The real ones are in the suite.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::task::LocalSet;

use super::*;
use crate::config::{CacheAddress, CacheKind, CachePlace};

/// Long enough for any answer on a busy machine, where one is to come.
const LONG: Duration = Duration::from_secs(20);

fn place() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("tlsifyd-cache-{}-{number}", std::process::id()))
}

fn client(path: PathBuf, deadline: Duration) -> CacheClient {
    let address = CacheAddress { kind: CacheKind::Memcached, place: CachePlace::Path(path), database: 0 };
    CacheClient::new(Arc::new(Cache::new(address, None, None, deadline)), Arc::default())
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}

async fn ask(client: &CacheClient) -> Found {
    client.look_up(vec!["tlsify:1".to_owned()], false, LONG).await
}

/// A cache for one connection after the other: it greets, and gives this answer to each line that asks for something.
fn cache(listener: UnixListener, answer: &'static [u8]) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            serve(&mut stream, answer);
        }
    });
}

fn serve(stream: &mut UnixStream, answer: &[u8]) {
    let mut said = Vec::new();
    let mut bytes = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        said.extend_from_slice(&bytes[..count]);
        while let Some(end) = said.windows(2).position(|pair| pair == b"\r\n") {
            let line: Vec<u8> = said.drain(..end + 2).collect();
            let answer = if line.starts_with(b"version") { b"VERSION 1\r\n" } else { answer };
            // Whoever asked may be gone.
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

#[test]
fn many_that_ask_at_once_are_each_answered() {
    run(async {
        let path = place();
        cache(UnixListener::bind(&path).unwrap(), b"VALUE tlsify:1 0 2\r\nhi\r\nEND\r\n");
        let client = client(path.clone(), LONG);
        let asked: Vec<_> = (0..500)
            .map(|_| {
                let client = client.clone();
                tokio::task::spawn_local(async move { ask(&client).await })
            })
            .collect();
        for asked in asked {
            assert_eq!(asked.await.unwrap(), Found::Value(b"hi".to_vec()));
        }
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn an_absent_cache_is_waited_for_by_nobody_and_found_when_it_is_there() {
    run(async {
        let path = place();
        let client = client(path.clone(), LONG);
        assert_eq!(ask(&client).await, Found::Broken, "the first one learns it");
        // At once, although the deadline is far.
        assert_eq!(ask(&client).await, Found::Skipped);
        cache(UnixListener::bind(&path).unwrap(), b"END\r\n");
        let begin = Instant::now();
        loop {
            match ask(&client).await {
                Found::Skipped => assert!(begin.elapsed() < LONG, "it is not found"),
                found => break assert_eq!(found, Found::Absent),
            }
            sleep(Duration::from_millis(5)).await;
        }
        std::fs::remove_file(path).unwrap();
    });
}

/// It takes connections and says nothing: as one that was stopped does.
#[test]
fn a_silence_is_waited_for_once() {
    run(async {
        let path = place();
        let listener = UnixListener::bind(&path).unwrap();
        let client = client(path.clone(), Duration::from_millis(20));
        assert_eq!(ask(&client).await, Found::Late);
        for _ in 0..100 {
            assert_eq!(ask(&client).await, Found::Skipped);
        }
        drop(listener);
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn nonsense_ends_the_connection_and_not_the_client() {
    for answer in [
        &b"VALUE tlsify:2 0 2\r\nhi\r\nEND\r\n"[..],
        b"VALUE tlsify:1 0 99999999\r\n",
        b"END\r\nEND\r\n",
        &[b'x'; 4096],
        b"STORED\r\n",
        b"\0\0\0\0\r\n",
    ] {
        run(async {
            let path = place();
            cache(UnixListener::bind(&path).unwrap(), answer);
            let client = client(path.clone(), LONG);
            let found = ask(&client).await;
            // The answer counts that was good, and the connection is given up for what came behind it.
            assert!(matches!(found, Found::Broken | Found::Absent), "{found:?}");
            while ask(&client).await != Found::Skipped {
                sleep(Duration::from_millis(1)).await;
            }
            std::fs::remove_file(path).unwrap();
        });
    }
}

#[test]
fn a_connection_that_the_cache_closes_at_rest_is_made_again_without_a_word() {
    run(async {
        let path = place();
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 1024];
                // The greeting and one look-up, and that is it.
                for answer in [&b"VERSION 1\r\n"[..], b"END\r\n"] {
                    if matches!(stream.read(&mut bytes), Ok(1..)) {
                        stream.write_all(answer).unwrap();
                    }
                }
            }
        });
        let client = client(path.clone(), LONG);
        for _ in 0..5 {
            assert_eq!(ask(&client).await, Found::Absent);
            let begin = Instant::now();
            while !client.is_at_rest() {
                assert!(begin.elapsed() < LONG, "the end of the connection is not seen");
                sleep(Duration::from_millis(1)).await;
            }
        }
        std::fs::remove_file(path).unwrap();
    });
}
