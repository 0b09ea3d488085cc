//! A TCP proxy before a broker: what networks do to connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::wait_for;

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// They pass.
    Pass,
    /// They wait; connections stay open.
    Stall,
    /// Each piece comes so much later.
    Delay(Duration),
    /// Connections are reset, and so are new ones.
    Down,
}

/// A proxy before one address.
pub(crate) struct Wire {
    address: String,
    mode: watch::Sender<Mode>,
    /// Counts resets: connections that began before the last one end.
    resets: watch::Sender<u64>,
}

impl Wire {
    /// To this address; passes everything at first.
    pub(crate) fn before(target: String) -> Wire {
        wait_for(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let (mode, resets) = (watch::Sender::new(Mode::Pass), watch::Sender::new(0));
            let (state, cuts) = (mode.clone(), resets.clone());
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(connection(client, target.clone(), state.subscribe(), cuts.subscribe()));
                }
            });
            Wire { address, mode, resets }
        })
    }

    /// Its own address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        if mode == Mode::Down {
            self.reset();
        }
    }

    /// Every open connection ends with RST.
    pub(crate) fn reset(&self) {
        self.resets.send_modify(|count| *count += 1);
    }
}

async fn connection(client: TcpStream, target: String, mode: watch::Receiver<Mode>, mut resets: watch::Receiver<u64>) {
    client.set_zero_linger().ok();
    let down = *mode.borrow() == Mode::Down;
    let Ok(server) = TcpStream::connect(target).await else { return };
    if down {
        return;
    }
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Dropped on the way out of here, which resets the client's side.
    let (mut up, mut back) =
        (Box::pin(pump(from_client, to_server, mode.clone())), Box::pin(pump(from_server, to_client, mode)));
    tokio::select! {
        _ = resets.changed() => {}
        () = &mut up => {}
        () = &mut back => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if mode.wait_for(|mode| *mode != Mode::Stall).await.is_err() {
            return;
        }
        let delay = *mode.borrow();
        if let Mode::Delay(time) = delay {
            tokio::time::sleep(time).await;
        }
        if to.write_all(&piece[..read]).await.is_err() {
            return;
        }
    }
}
