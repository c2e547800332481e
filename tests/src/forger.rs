//! A peer that breaks the rules inside the encryption: records as a test wants them, under the session's own keys.

use std::io::{self, Write};
use std::net::TcpStream;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets as Secrets;

use crate::peer::{ONLY_TLS13, Peer, client_config};
use crate::pki::{SERVER_NAME, pki};

/// The sending half of a TLS 1.3 session that was opened by the rules. What the other side says is not looked at.
#[derive(Debug)]
pub struct Forger {
    /// The connection.
    pub socket: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Forger {
    /// A TLS client on `socket` that can become a forger once it is open. Nothing is sent yet.
    pub fn prepare(socket: TcpStream) -> Peer {
        let mut config = client_config(pki().ca.roots(), ONLY_TLS13, None);
        config.enable_secret_extraction = true;
        Peer::client(socket, config, SERVER_NAME)
    }

    /// Takes over where an open peer of [`Forger::prepare`] stands.
    ///
    /// # Panics
    /// When it is not open, or has something to send.
    pub fn from(peer: Peer) -> Self {
        let secrets =
            peer.tls.dangerous_extract_secrets().expect("the peer is open and said it may be asked");
        let (sequence, secrets) = secrets.tx;
        let (algorithm, key, iv) = match secrets {
            Secrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            Secrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            Secrets::Chacha20Poly1305 { key, iv } => (&aead::CHACHA20_POLY1305, key, iv),
            _ => panic!("a cipher that nobody asked for"),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).expect("a key of its own cipher");
        let iv = iv.as_ref().try_into().expect("96 bits in TLS 1.3");
        Self { socket: peer.socket, key: LessSafeKey::new(key), iv, sequence }
    }

    /// The next record, whole: this content, this type, and so many zeros of padding (RFC 8446 section 5.2).
    pub fn record(&mut self, content_type: u8, content: &[u8], padding: usize) -> Vec<u8> {
        let mut inner = [content, &[content_type], &vec![0; padding]].concat();
        let length =
            u16::try_from(inner.len() + aead::AES_128_GCM.tag_len()).expect("a record's length fits");
        let [high, low] = length.to_be_bytes();
        let header = [23, 3, 3, high, low];
        // RFC 8446 section 5.3: the sequence number, padded on the left, over the IV.
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        self.sequence += 1;
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), &mut inner)
            .expect("a record is short");
        [&header[..], &inner].concat()
    }

    /// Sends such a record.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, content_type: u8, content: &[u8], padding: usize) -> io::Result<()> {
        let record = self.record(content_type, content, padding);
        self.socket.write_all(&record)
    }
}
