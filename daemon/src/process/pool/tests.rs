//! The three pools on files that change.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;

use super::*;
use crate::process::test_folder::Folder;

fn authority(name: &str) -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

/// A pool that looks at its files every time.
fn eager(place: PoolPlace) -> SystemPool {
    SystemPool(Kept::at(place, Duration::ZERO))
}

fn file(path: PathBuf) -> PoolPlace {
    PoolPlace { file: Some(path), folders: Vec::new() }
}

#[test]
fn a_changed_pool_is_read_again_and_an_unchanged_one_is_not() {
    let folder = Folder::new();
    let path = folder.path("cas.pem");
    fs::write(&path, authority("one")).unwrap();
    let pool = eager(file(path.clone()));
    assert_eq!(pool.get().unwrap().count(), 1);
    let first = pool.0.loaded.load_full().unwrap();
    pool.get().unwrap();
    assert!(Arc::ptr_eq(&first, &pool.0.loaded.load_full().unwrap()), "read again without need");
    fs::write(&path, authority("one") + &authority("two")).unwrap();
    assert_eq!(pool.get().unwrap().count(), 2);
}

#[test]
fn a_file_added_to_a_folder_counts_and_a_copy_does_not() {
    let folder = Folder::new();
    let one = authority("one");
    fs::write(folder.path("one.pem"), &one).unwrap();
    let pool = eager(PoolPlace { file: Some(folder.path("one.pem")), folders: vec![folder.0.clone()] });
    assert_eq!(pool.get().unwrap().count(), 1);
    fs::write(folder.path("copy.pem"), &one).unwrap();
    fs::write(folder.path("two.pem"), authority("two")).unwrap();
    assert_eq!(pool.get().unwrap().count(), 2);
}

#[test]
fn a_pool_that_vanishes_stays_in_use_until_it_is_back() {
    let folder = Folder::new();
    let path = folder.path("cas.pem");
    fs::write(&path, authority("one")).unwrap();
    let pool = eager(file(path.clone()));
    pool.get().unwrap();
    fs::write(&path, "").unwrap();
    assert_eq!(pool.get().unwrap().count(), 1);
    fs::remove_file(&path).unwrap();
    assert_eq!(pool.get().unwrap().count(), 1);
    fs::write(&path, authority("two") + &authority("three")).unwrap();
    assert_eq!(pool.get().unwrap().count(), 2);
}

#[test]
fn no_pool_is_an_error_that_says_where_it_was_looked_for() {
    let folder = Folder::new();
    let path = folder.path("none.pem");
    let error = eager(file(path.clone())).get().unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()) && error.contains("SSL_CERT_FILE"), "{error}");
    let error = eager(PoolPlace::default()).get().unwrap_err().to_string();
    assert!(error.contains("none of the usual places is there"), "{error}");
}

#[test]
fn a_broken_certificate_is_counted_and_the_others_serve() {
    let folder = Folder::new();
    fs::write(folder.path("good.pem"), authority("one")).unwrap();
    fs::write(folder.path("bad.pem"), "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n")
        .unwrap();
    fs::write(folder.path("odd.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .unwrap();
    let pool = eager(PoolPlace { file: None, folders: vec![folder.0.clone()] });
    assert_eq!(pool.get().unwrap().count(), 1);
    let loaded = pool.0.loaded.load_full().unwrap();
    assert_eq!((loaded.unreadable, loaded.content.skipped()), (1, 1));
}

#[test]
fn many_threads_that_ask_at_once_cause_one_load() {
    const THREADS: usize = 8;
    let folder = Folder::new();
    let path = folder.path("cas.pem");
    fs::write(&path, authority("one")).unwrap();
    let pool = Arc::new(SystemPool::at(file(path)));
    assert!(pool.fresh().is_none(), "nothing is read before it is needed");
    let start = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (pool, start) = (Arc::clone(&pool), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                pool.get().unwrap();
                Arc::as_ptr(&pool.0.loaded.load_full().unwrap()) as usize
            })
        })
        .collect();
    let mut loads: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    loads.dedup();
    assert_eq!(loads.len(), 1, "each thread saw the same load");
    assert_eq!(pool.fresh().unwrap().count(), 1);
}

/// The supervisor's pool, in the same process.
struct Near(Arc<PublishedPool>);

impl PoolSource for Near {
    fn newer_than(&self, have: Option<u64>) -> Result<Option<(u64, OwnedFd)>, String> {
        let news = self.0.newer_than(have).map_err(|error| error.to_string())?;
        Ok(news.map(|pool| (pool.generation(), pool.as_fd().try_clone_to_owned().unwrap())))
    }
}

#[test]
fn a_worker_has_what_the_supervisor_reads_and_notices_only_real_changes() {
    let folder = Folder::new();
    let path = folder.path("cas.pem");
    let one = authority("one");
    fs::write(&path, &one).unwrap();
    let published = Arc::new(PublishedPool::eager(file(path.clone())));
    let pool = AskedPool::eager(Box::new(Near(Arc::clone(&published))));
    assert!(engine::SystemPool::fresh(&pool).is_none());
    let load = || engine::SystemPool::load(&pool).unwrap();
    let first = load();
    assert_eq!((first.count(), pool.generation()), (1, Some(1)));
    fs::write(&path, format!("# the same again\n{one}")).unwrap();
    assert_eq!((load().count(), pool.generation()), (1, Some(1)), "mapped again without need");
    fs::write(&path, one + &authority("two")).unwrap();
    assert_eq!((load().count(), pool.generation()), (2, Some(2)));
    fs::remove_file(&path).unwrap();
    assert_eq!((load().count(), pool.generation()), (2, Some(2)), "it stays until it is back");
    assert_eq!(first.count(), 1, "who had the old one has it still");
    assert!(published.newer_than(Some(2)).unwrap().is_none());
}

#[test]
fn a_worker_without_a_pool_says_what_the_supervisor_says() {
    let folder = Folder::new();
    let path = folder.path("none.pem");
    let pool = AskedPool::new(Box::new(Near(Arc::new(PublishedPool::at(file(path.clone()))))));
    let error = engine::SystemPool::load(&pool).unwrap_err();
    assert!(error.contains(&path.display().to_string()) && error.contains("SSL_CERT_FILE"), "{error}");
}

#[test]
fn a_pool_that_changes_for_ever_is_mapped_so_often_and_copied_then() {
    let folder = Folder::new();
    let path = folder.path("cas.pem");
    let authorities = [authority("one"), authority("two")];
    let pool = AskedPool::eager(Box::new(Near(Arc::new(PublishedPool::eager(file(path.clone()))))));
    for round in 0..70 {
        fs::write(&path, &authorities[round % 2]).unwrap();
        assert_eq!(engine::SystemPool::load(&pool).unwrap().count(), 1);
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter(|line| line.contains("tlsifyd-cas")).count();
    // Other tests in this process map some, too.
    assert!((64..70).contains(&mapped), "{mapped}");
}
