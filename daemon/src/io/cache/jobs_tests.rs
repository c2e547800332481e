//! Answers to commands that are under way, without a connection.

use super::*;
use crate::tls::CacheFigures;

const BOTH: [Dialect; 2] = [Dialect::Memcached, Dialect::Redis];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn put(figures: &Arc<CacheFigures>) -> CachePut {
    let entry = CacheEntry { name: "tlsify:1".to_owned(), value: b"sealed".to_vec(), life: 60 };
    CachePut { entry, figures: Arc::clone(figures) }
}

/// What a look-up of two names comes to when the cache says this.
fn finds(dialect: Dialect, once: bool, said: &str) -> (Result<usize, Broken>, Option<Found>) {
    let mut jobs = Jobs::default();
    let mut found = jobs.look_up(dialect, names(&["tlsify:1", "tlsify:2"]), once, Instant::now()).unwrap();
    let read = jobs.read(dialect, said.as_bytes());
    (read, found.try_recv().ok())
}

#[test]
fn whichever_name_it_has_it_is_found() {
    let mem = |one: &str, other: &str| {
        let value = |name: &str, value: &str| match value {
            "" => "END\r\n".to_owned(),
            value => format!("VALUE {name} 0 {}\r\n{value}\r\nEND\r\n", value.len()),
        };
        value("tlsify:1", one) + &value("tlsify:2", other)
    };
    for (one, other, wanted) in [
        ("first", "", Found::Value(b"first".to_vec())),
        ("", "second", Found::Value(b"second".to_vec())),
        ("first", "second", Found::Value(b"first".to_vec())),
        ("", "", Found::Absent),
    ] {
        let said = mem(one, other);
        assert_eq!(finds(Dialect::Memcached, false, &said), (Ok(said.len()), Some(wanted)));
    }
    let said = "$-1\r\n$6\r\nsecond\r\n";
    assert_eq!(finds(Dialect::Redis, false, said), (Ok(said.len()), Some(Found::Value(b"second".to_vec()))));
}

/// Two daemons ask for the same entry: it is whose who deletes it.
#[test]
fn what_somebody_else_has_deleted_is_not_ours() {
    for (deleted, wanted) in [
        (":0\r\n:1\r\n", Found::Value(b"x".to_vec())),
        (":1\r\n:0\r\n", Found::Absent),
        (":0\r\n:0\r\n", Found::Absent),
        (":0\r\n-READONLY\r\n", Found::Broken),
    ] {
        let said = format!("$-1\r\n$1\r\nx\r\n{deleted}");
        assert_eq!(finds(Dialect::Redis, true, &said).1, Some(wanted), "{said}");
    }
    let said = "VALUE tlsify:1 0 1\r\nx\r\nEND\r\nEND\r\nDELETED\r\nNOT_FOUND\r\n";
    assert_eq!(finds(Dialect::Memcached, true, said).1, Some(Found::Value(b"x".to_vec())));
    let said = "VALUE tlsify:1 0 1\r\nx\r\nEND\r\nEND\r\nNOT_FOUND\r\nNOT_FOUND\r\n";
    assert_eq!(finds(Dialect::Memcached, true, said).1, Some(Found::Absent));
}

#[test]
fn half_an_answer_is_kept_and_one_too_many_is_refused() {
    let (read, found) = finds(Dialect::Redis, false, "$-1\r\n$6\r\nsec");
    assert_eq!((read, found), (Ok(5), None));
    let (read, _) = finds(Dialect::Redis, false, "$-1\r\n$-1\r\n$-1\r\n");
    assert_eq!(read, Err(Broken::Nonsense));
    for dialect in BOTH {
        assert_eq!(Jobs::default().read(dialect, b"x"), Err(Broken::Nonsense), "nobody has asked");
    }
}

#[test]
fn entries_are_counted_as_kept_only_when_the_cache_says_so() {
    let figures = Arc::default();
    let mut jobs = Jobs::default();
    for _ in 0..3 {
        jobs.put(Dialect::Memcached, put(&figures), Instant::now());
    }
    let command = "set tlsify:1 0 60 6\r\nsealed\r\n";
    assert_eq!(jobs.out(), command.repeat(3).as_bytes());
    jobs.sent(command.len());
    assert_eq!(jobs.out(), command.repeat(2).as_bytes());
    jobs.read(Dialect::Memcached, b"STORED\r\nSERVER_ERROR out of memory\r\n").unwrap();
    jobs.give_up();
    assert_eq!(figures.count_of(CacheEvent::Kept), 1);
    assert_eq!(figures.count_of(CacheEvent::Dropped), 2);
    assert!(jobs.out().is_empty() && jobs.oldest().is_none());
}

#[test]
fn a_cache_that_takes_nothing_piles_up_nothing() {
    for dialect in BOTH {
        let (figures, mut jobs) = (Arc::default(), Jobs::default());
        for _ in 0..5000 {
            jobs.put(dialect, put(&figures), Instant::now());
        }
        assert!(jobs.out().len() < MOST_BYTES + 1024, "{}", jobs.out().len());
        assert!(jobs.look_up(dialect, names(&["tlsify:1"]), true, Instant::now()).is_none());
        let under_way = jobs.under_way.len() as u64;
        assert_eq!(figures.count_of(CacheEvent::Dropped), 5000 - under_way);
        // And one that takes all and answers nothing.
        let mut jobs = Jobs::default();
        let asked = (0..5000).filter(|_| {
            let asked = jobs.look_up(dialect, names(&["tlsify:1"]), true, Instant::now()).is_some();
            jobs.sent(jobs.out().len());
            asked
        });
        assert_eq!(asked.count(), MOST_UNDER_WAY);
    }
}
