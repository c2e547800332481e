//! The engine of the demonstration: the operator's defaults and one profile that this user may use.

use std::collections::HashMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::error::DemoError;
use super::folder::Folder;
use super::{PROFILE, identity};
use crate::config::Config;
use crate::engine::{Engine, KeysHere, OperatorProfile, Profile, Setup};
use crate::io::Outside;
use crate::policy::Grant;
use crate::process::gather::Disk;
use crate::process::keys::InProcess;
use crate::process::{Listener, Loaded, Place, SystemPool, descriptors};
use crate::tls::{
    CertificateType, ClientCertificate, Identity, Params, ParamsSpec, ServerProfile, ServerSpec,
};

/// How long open sessions may take to say goodbye when the demonstration ends.
const GOODBYE: Duration = Duration::from_secs(3);

/// The running engine and its socket.
pub(super) struct Host {
    engine: Engine,
    listener: Listener,
}

impl Host {
    /// Makes the CA and starts the engine; returns the CA's certificate, which is in the folder too.
    pub(super) fn start(folder: &Folder, workers: Option<usize>) -> Result<(String, Self), DemoError> {
        let (ca, identity) = identity::throwaway()?;
        fs::write(folder.ca(), &ca).map_err(DemoError::system("write the CA's certificate"))?;
        descriptors::raise();
        // Nothing is read from this host's configuration: what is shown is what everybody gets.
        let nothing = Config::defaults(Path::new(""));
        let loaded = Loaded::from_config(nothing, &Disk::default(), &mut InProcess::to_serve())
            .map_err(|error| DemoError::Identity(error.to_string()))?;
        let mut operator = loaded.operator;
        let profile = OperatorProfile {
            grant: Grant::to([rustix::process::geteuid().as_raw()], []),
            profile: Profile::Server(Arc::new(server(identity)?)),
            cache: None,
            label: Arc::new(PROFILE.to_owned()),
        };
        operator.profiles = HashMap::from([(PROFILE.to_owned(), profile)]);

        let place = Place { path: folder.socket(), mode: 0o600, folder_mode: 0o700 };
        let listener = Listener::bind(&place)?;
        let copy =
            listener.as_fd().try_clone_to_owned().map_err(DemoError::system("copy the listening socket"))?;
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let engine = Engine::start(Setup {
            operator,
            system: Arc::new(SystemPool::new()),
            outside: Arc::new(Outside::default()),
            keys: Arc::new(KeysHere),
            workers: workers.unwrap_or_else(cores),
            listeners: vec![copy],
            private: None,
            register: None,
            others: None,
        })
        .map_err(DemoError::system("start the workers"))?;
        Ok((ca, Self { engine, listener }))
    }

    /// Ends the sessions and the engine.
    pub(super) async fn end(mut self) {
        drop(self.listener);
        self.engine.drain();
        self.engine.end_sessions();
        // What is left after that goes with the process.
        if tokio::time::timeout(GOODBYE, self.engine.ended()).await.is_ok()
            && let Err(error) = self.engine.join()
        {
            tracing::warn!(%error, "a worker ended badly");
        }
    }
}

fn server(identity: Identity) -> Result<ServerProfile, DemoError> {
    let params = ParamsSpec { alpn: vec![b"http/1.1".to_vec()], ..ParamsSpec::default() };
    Ok(ServerProfile::build(ServerSpec {
        certificate_type: CertificateType::X509,
        identities: vec![identity],
        unknown_name_first: false,
        params: Params::build(&params).map_err(|error| DemoError::Identity(error.to_string()))?,
        client_certificate: ClientCertificate::None,
        trust: None,
        pins: Vec::new(),
        allow: Vec::new(),
        revocation: None,
    })?)
}
