//! What everything is compared with: the same three requests in a server that does TLS itself, with tokio and tokio-rustls
//! in one thread, written as such servers are: no delay, whole responses per write, bulk in large pieces.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::http::{MAX_HEAD, Request, What, download_head, end};
use super::{Served, announce};

const BACKLOG: u32 = 4096;
/// Written at once, as by the back end.
const PIECE: usize = 128 * 1024;
static BODY: [u8; PIECE] = [7; PIECE];
/// Read at once. For each connection, and so no larger than a server with thousands of them would have it.
const READ: usize = 16 * 1024;

/// Serves for ever.
pub(super) fn serve(served: &Served) -> ! {
    let acceptor = TlsAcceptor::from(Arc::new(config(served)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a descriptor is free");
    runtime.block_on(async move {
        let socket = TcpSocket::new_v4().expect("a descriptor is free");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
        let listener = socket.listen(BACKLOG).expect("it is bound");
        announce(listener.local_addr().expect("it is bound"));
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            let acceptor = acceptor.clone();
            // Whoever breaks off is told of by the load.
            tokio::spawn(async move { session(socket, acceptor).await.ok() });
        }
    })
}

async fn session(socket: TcpStream, acceptor: TlsAcceptor) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut stream = acceptor.accept(socket).await?;
    let mut buffer = Vec::new();
    let mut read = vec![0; READ];
    loop {
        let count = stream.read(&mut read).await?;
        if count == 0 {
            return Ok(());
        }
        let head = if buffer.is_empty() {
            &read[..count]
        } else {
            buffer.extend_from_slice(&read[..count]);
            &buffer
        };
        let Some(at) = end(head) else {
            if head.len() > MAX_HEAD {
                return Ok(());
            }
            if buffer.is_empty() {
                buffer.extend_from_slice(&read[..count]);
            }
            continue;
        };
        let Some(request) = Request::read(&head[..at]) else { return Ok(()) };
        let behind = (head.len() - at) as u64;
        buffer.clear();
        match request.what {
            What::Small => stream.write_all(request.answer()).await?,
            What::Upload(count) => {
                let mut left = count.saturating_sub(behind);
                while left > 0 {
                    left = left.saturating_sub(stream.read(&mut read).await? as u64);
                }
                stream.write_all(request.answer()).await?;
            }
            What::Download(count) => download(&mut stream, count, request.last).await?,
        }
        stream.flush().await?;
        if request.last {
            return stream.shutdown().await;
        }
    }
}

async fn download(stream: &mut TlsStream<TcpStream>, count: u64, last: bool) -> std::io::Result<()> {
    stream.write_all(download_head(count, last).as_bytes()).await?;
    let mut left = count;
    while left > 0 {
        let piece = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        stream.write_all(&BODY[..piece]).await?;
        left -= piece as u64;
    }
    Ok(())
}

fn config(served: &Served) -> ServerConfig {
    let suite = match served.tls12 {
        true => aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        false => aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    };
    let group = if served.hybrid { aws_lc_rs::kx_group::X25519MLKEM768 } else { aws_lc_rs::kx_group::X25519 };
    let provider = CryptoProvider {
        cipher_suites: vec![suite],
        kx_groups: vec![group],
        ..aws_lc_rs::default_provider()
    };
    let chain = CertificateDer::pem_file_iter(&served.certificate).expect("it was just made");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("our own certificate");
    let key = PrivateKeyDer::from_pem_file(&served.key).expect("it was just made");
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[if served.tls12 { &TLS12 } else { &TLS13 }])
        .expect("the suite is one of the version's")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("our own certificate");
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    if served.tickets {
        config.ticketer = aws_lc_rs::Ticketer::new().expect("random numbers");
        // As tlsifyd does it.
        config.send_tls13_tickets = 1;
    }
    config
}
