//! One thread that starts every executor and lives as long as the process.
//!
//! Executors ask the kernel to end them when their parent dies (`PR_SET_PDEATHSIG`), and for the kernel the parent is the
//! thread that forked. An async runtime's threads come and go; this one stays.

use std::io;
use std::sync::{OnceLock, mpsc};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Order {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts the command on the long-lived thread.
///
/// # Errors
/// Those of `fork` and `exec`.
pub(super) async fn spawn(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Option<mpsc::Sender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts executors is gone");
    let orders = ORDERS.get_or_init(start).as_ref().ok_or_else(gone)?;
    let (answer, child) = oneshot::channel();
    orders.send(Order { command, runtime: Handle::current(), answer }).map_err(|_| gone())?;
    child.await.map_err(|_| gone())?
}

fn start() -> Option<mpsc::Sender<Order>> {
    let (orders, inbox) = mpsc::channel::<Order>();
    let serve = move || {
        for Order { mut command, runtime, answer } in inbox {
            let _inside = runtime.enter();
            // Nobody waits any more: the child is dropped, and with it killed.
            drop(answer.send(command.spawn()));
        }
    };
    std::thread::Builder::new().name("executor-spawner".into()).spawn(serve).ok()?;
    Some(orders)
}
