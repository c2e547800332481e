//! What is read from answers.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::{accept, pair, socket};
use crate::{AccessRule, Code, Connect, Error, Matched, Sha256, pem_fd};

#[test]
fn a_failure_brings_what_can_be_pinned() {
    let (client, fake) = pair();
    let pending = client.start_connect_tls(&Connect::new(socket()).name("example.org")).unwrap();
    fake.hear();
    let hash = Sha256([9; 32]);
    let chain = pem_fd("the chain").unwrap();
    let text = format!(
        "tlsify/1 failed\nid=1\ncode=unknown-issuer\nblame=peer\nsocket=closed\nalert=48 unknown_ca\nalert-from=us\n\
         spki-sha256={hash}\nfds=chain\ntext=nobody vouches for it\n"
    );
    fake.say(&text, &[chain.as_fd()]);
    let Err(Error::Failed(failed)) = pending.wait() else { panic!("it failed") };
    assert_eq!((failed.code, failed.spki_sha256), (Code::UnknownIssuer, Some(hash)));
    assert_eq!(failed.alert.unwrap().name(), "unknown_ca");
    let mut text = String::new();
    File::from(failed.chain.unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "the chain");
}

#[test]
fn what_matched_and_exported_is_owned_and_secrets_are_not_shown() {
    let (client, fake) = pair();
    let pending = client.start_accept(&accept()).unwrap();
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let text = "tlsify/1 established\nid=1\nfds=plain\nprotocol=TLSv1.3\ncipher=TLS_AES_128_GCM_SHA256\nalpn=a%25b\n\
         resumed=no\npeer=[2001:db8::1]:443\nmatched=name:example.org\nmatched=allow:uri:spiffe://example/a\n\
         export=label:-:c2VjcmV0\n";
    fake.say(text, &[theirs.as_fd()]);
    let facts = pending.wait().unwrap().facts;
    assert_eq!(facts.alpn.as_deref(), Some(b"a%b".as_slice()));
    assert_eq!(facts.peer.unwrap().to_string(), "[2001:db8::1]:443");
    let rule = AccessRule::Uri("spiffe://example/a".into());
    assert_eq!(facts.matched, [Matched::Name("example.org".into()), Matched::Allow(rule)]);
    assert_eq!(facts.exports[0].value, b"secret");
    assert!(!format!("{facts:?}").contains("115, 101, 99"), "{facts:?}");
}
