//! A real RabbitMQ on loopback ports of its own: one for all tests of a binary, gone with it however it ends.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process};

const BIN: &str = "/usr/lib/rabbitmq/bin";
/// Ends with its standard input, that is, with the test binary. epmd runs in the foreground: Erlang would leave one
/// behind.
const GUARD: &str = "epmd -port $ERL_EPMD_PORT -address 127.0.0.1 >/dev/null 2>&1 & epmd=$!
setsid $BIN/rabbitmq-server >$HOME/out 2>&1 & broker=$!
cat >/dev/null
kill -9 -$broker; kill $epmd; wait; rm -rf $HOME";
/// The same for a broker that was killed, whose epmd goes on.
const AGAIN: &str = "setsid $BIN/rabbitmq-server >>$HOME/out 2>&1 & broker=$!
cat >/dev/null
kill -9 -$broker; wait; rm -rf $HOME";
/// An administrator.
pub const USER: &str = "tester";
/// Its password.
pub const PASSWORD: &str = "not-for-the-log";
/// A user with the same password, who may do what a worker needs for the queue of the same name, and no more.
pub const LIMITED: &str = "limited";
/// A virtual host whose connections are cut.
pub const CUT: &str = "cut";
/// A queue of this name takes one message; the broker refuses more.
pub const FULL: &str = "full";
/// Starting takes 15 s on two busy cores.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running broker. Its `consumer_timeout` is 60 s.
#[derive(Debug)]
pub struct Broker {
    /// Port of `amqp://127.0.0.1`.
    pub port: u16,
    /// Port of `amqps://127.0.0.1`.
    pub tls_port: u16,
    environment: Vec<(&'static str, String)>,
    home: PathBuf,
    /// Held so that they end with the process, and not before.
    guards: Mutex<Vec<(Child, ChildStdin)>>,
}

/// The broker; the first call starts it.
pub async fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    let broker = tokio::task::spawn_blocking(|| BROKER.get_or_init(start)).await.unwrap();
    broker.ready().await;
    broker
}

impl Broker {
    /// One of its own, for who kills it.
    pub async fn start() -> Broker {
        let broker = tokio::task::spawn_blocking(start).await.unwrap();
        broker.ready().await;
        broker
    }

    /// Waits until it answers.
    pub async fn ready(&self) {
        let begun = Instant::now();
        while let Err(error) = self.connect("%2f").await {
            let log = || std::fs::read_to_string(self.home.join("out")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "no broker: {error}\n{}", log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `kill -9` of the server.
    pub fn kill(&self) {
        let pid = std::fs::read_to_string(self.home.join("pid")).unwrap();
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    /// Starts the killed server again, on its data; returns before it answers.
    pub fn start_again(&self) {
        self.guards.lock().unwrap().push(guard(AGAIN, &self.environment));
    }

    /// A connection to this virtual host, to do what a worker would not.
    ///
    /// # Errors
    /// As lapin tells.
    pub async fn connect(&self, vhost: &str) -> lapin::Result<Connection> {
        let url = format!("amqp://{USER}:{PASSWORD}@127.0.0.1:{}/{vhost}", self.port);
        Connection::connect(&url, ConnectionProperties::default()).await
    }

    /// The file of its TLS certificate, which no authority has signed.
    pub fn certificate(&self) -> PathBuf {
        self.home.join("cert.pem")
    }

    /// Runs rabbitmqctl; takes some seconds.
    pub async fn control(&self, arguments: &[&str]) {
        let mut command = tokio::process::Command::new(format!("{BIN}/rabbitmqctl"));
        let output = command.args(arguments).envs(self.environment.iter().cloned()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn start() -> Broker {
    assert!(Path::new(BIN).exists(), "rabbitmq-server is missing: run infra/setup --dev");
    let home = tempfile::Builder::new().prefix("darkroom-broker").tempdir().unwrap().keep();
    let [port, tls_port, dist, epmd] = ports();
    let written = |name: &str, text: String| {
        let path = home.join(name);
        std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path.display().to_string()
    };
    certificate(&home);
    let everything =
        |vhost| serde_json::json!({"user": USER, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"});
    let queues = format!(r"^{LIMITED}(\..*)?$");
    let definitions = serde_json::json!({
        "users": [{"name": USER, "password": PASSWORD, "tags": "administrator"},
            {"name": LIMITED, "password": PASSWORD, "tags": ""}],
        "vhosts": [{"name": "/"}, {"name": CUT}],
        "permissions": [everything("/"), everything(CUT), {"user": LIMITED, "vhost": "/", "configure": &queues,
            "write": format!("{queues}|^amq\\.default$"), "read": &queues}],
        "policies": [{"name": FULL, "vhost": "/", "pattern": format!("^{FULL}$"), "apply-to": "queues",
            "definition": {"max-length": 1}}],
    });
    let definitions = written("definitions.json", definitions.to_string());
    let configuration = format!(
        "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{tls_port}\n\
         ssl_options.certfile = {home}/cert.pem\nssl_options.keyfile = {home}/key.pem\n\
         consumer_timeout = 60000\ndisk_free_limit.absolute = 50MB\nload_definitions = {definitions}\n",
        home = home.display()
    );
    let file = |name: &str| home.join(name).display().to_string();
    let environment = vec![
        ("BIN", BIN.to_owned()),
        ("HOME", home.display().to_string()),
        ("RABBITMQ_NODENAME", format!("darkroom-{port}@localhost")),
        ("RABBITMQ_CONFIG_FILE", written("rabbitmq.conf", configuration)),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", written("enabled_plugins", "[].".into())),
        ("RABBITMQ_MNESIA_BASE", file("mnesia")),
        ("RABBITMQ_LOG_BASE", file("log")),
        ("RABBITMQ_LOGS", "-".into()),
        ("RABBITMQ_PID_FILE", file("pid")),
        ("RABBITMQ_DIST_PORT", dist.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".into()),
        ("ERL_EPMD_PORT", epmd.to_string()),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2".into()),
    ];
    let guards = Mutex::new(vec![guard(GUARD, &environment)]);
    Broker { port, tls_port, environment, home, guards }
}

/// A script that ends with its standard input.
fn guard(script: &str, environment: &[(&'static str, String)]) -> (Child, ChildStdin) {
    let mut guard = Command::new("sh");
    guard.args(["-c", script]).envs(environment.iter().cloned()).stdin(Stdio::piped());
    let mut guard = guard.spawn().unwrap();
    let stdin = guard.stdin.take().unwrap();
    (guard, stdin)
}

/// Four free ports.
fn ports() -> [u16; 4] {
    let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// One that no authority has signed.
fn certificate(dir: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem"]);
    let output = command.args(["-out", "cert.pem"]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
