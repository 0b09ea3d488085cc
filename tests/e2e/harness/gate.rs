//! A door between a worker and its store.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use super::PATIENCE;

/// Passes bytes to and from a store, until a request comes that is to be held: that one stays here for ever.
pub(crate) struct Gate {
    endpoint: String,
    held: Receiver<()>,
}

impl Gate {
    /// Before the store at this endpoint; `holds` looks at the head of a request.
    pub(crate) fn before(store: &str, holds: fn(&str) -> bool) -> Gate {
        let store = store.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (caught, held) = channel();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, store) = (client.unwrap(), TcpStream::connect(&store).unwrap());
                let (answers, back, caught) = (store.try_clone().unwrap(), client.try_clone().unwrap(), caught.clone());
                std::thread::spawn(move || pass(client, store, &|chunk| holds(chunk) && caught.send(()).is_ok()));
                std::thread::spawn(move || pass(answers, back, &|_| false));
            }
        });
        Gate { endpoint, held }
    }

    /// Where the worker is to look for its store.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Waits until the request has come.
    #[track_caller]
    pub(crate) fn wait(&self) {
        self.held.recv_timeout(PATIENCE).expect("the request that is to be held");
    }
}

/// One direction, until its end or until something is held: then the connection stays open and silent.
fn pass(mut from: TcpStream, mut to: TcpStream, holds: &dyn Fn(&str) -> bool) {
    let mut chunk = [0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        // A client writes the head of a request at once.
        if holds(&String::from_utf8_lossy(&chunk[..read])) {
            loop {
                std::thread::park();
            }
        }
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Write).ok();
}
