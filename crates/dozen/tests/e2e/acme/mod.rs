//! An ACME server of the tests: small, strict (RFC 8555, 8737), real, and wrong on request.
//!
//! It speaks HTTPS with an authority of its own, checks every signature and nonce, fetches the
//! answers to challenges from the router, issues real certificates, and writes down what it was
//! asked. A [`Script`] says what goes wrong.
//!
//! Start reading at [`AcmeServer`]; the way of a request is in [`world`].

mod account;
mod authority;
mod jws;
mod listener;
mod order;
mod others;
mod problem;
mod strict;
mod validation;
mod world;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
};

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::oneshot;

use self::world::World;
pub use self::{
    authority::Life,
    problem::Problem,
    validation::Kind,
    world::{Fault, How, Script, Seen},
};

/// A server. It ends with the value.
pub struct AcmeServer {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    folder: TempDir,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AcmeServer {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let address = listener.local_addr().expect("its address");
        let world = Arc::new(Mutex::new(World::new(format!("https://{address}"))));
        let (tls, own_root) = authority::own_tls();
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("tls.pem"), own_root).expect("a file");
        std::fs::write(folder.path().join("root.pem"), &world.lock().authority.root).expect("a file");
        let (end, ended) = oneshot::channel();
        let shared = Arc::clone(&world);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = listener::serve(listener, tls, shared) => {}
                    _ = ended => {}
                }
            });
        });
        Self { address, world, folder, end: Some(end), thread: Some(thread) }
    }

    /// The URL of its directory.
    pub fn directory(&self) -> String {
        format!("https://{}/directory", self.address)
    }

    /// What its own TLS is believed for.
    pub fn tls_root(&self) -> PathBuf {
        self.folder.path().join("tls.pem")
    }

    /// What its certificates are believed for.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Changes what goes wrong.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.world.lock().script);
    }

    /// What it was asked until now.
    pub fn seen(&self) -> Vec<Seen> {
        self.world.lock().seen.clone()
    }

    /// How often a resource was asked for, whatever was answered.
    pub fn count(&self, what: &str) -> usize {
        self.world.lock().seen.iter().filter(|seen| seen.what == what).count()
    }

    /// Accounts that it has made.
    pub fn accounts(&self) -> usize {
        self.world.lock().accounts.len()
    }

    /// Orders that it has taken.
    pub fn orders(&self) -> usize {
        self.world.lock().orders.len()
    }

    /// Certificates that it has issued.
    pub fn issued(&self) -> usize {
        self.world.lock().certificates.len()
    }

    /// Whether no order can be gone on with.
    pub fn is_every_order_over(&self) -> bool {
        self.world.lock().is_every_order_over()
    }

    /// The contacts of an account.
    pub fn contacts(&self, account: usize) -> Vec<String> {
        self.world.lock().accounts[account].contact.clone()
    }

    /// It forgets its accounts.
    pub fn forget_accounts(&self) {
        self.world.lock().accounts.clear();
    }
}

impl Drop for AcmeServer {
    fn drop(&mut self) {
        let _ = self.end.take().map(|end| end.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
