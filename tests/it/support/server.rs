//! Server processes that tests start: each ends with these tests, however they end, and shows its
//! log when it does not start or its test fails.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::trace;

/// Says the server's process number, then waits for the end of its standard input, which comes
/// with the end of the tests, be they killed; then ends the server and removes its directory,
/// unless the line `keep` came before.
///
/// `setsid` gives the server a process group, but sshd's sessions leave it: so its descendants are
/// ended too, and it is halted first, lest it have more of them meanwhile. They may go on for
/// a moment after the signal, which is waited for: who asks the next server shall not hear this one.
const SUPERVISOR: &str = r#"
    below() {
        for child in $(cat /proc/"$1"/task/*/children); do
            below "$child"
            echo "$child"
        done
    }
    directory=$1; shift
    setsid "$@" </dev/null >>"$directory/log" 2>&1 &
    leader=$!
    echo "$leader"
    exec 2>/dev/null
    read -r order
    kill -STOP "$leader"
    all="$leader $(below "$leader")"
    kill -9 "-$leader" $all
    wait "$leader"
    for process in $all; do
        while grep -q '^State:.[^XZ]' /proc/"$process"/task/*/status; do
            sleep 0.01
        done
    done
    [ "$order" = keep ] || rm -rf "$directory"
"#;

/// A cold server on a busy machine was seen to take 19 seconds.
const PATIENCE: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(20);
const LOG_LINES: usize = 60;

/// A server process and the directory that it works in. Ends and removes both when dropped.
pub struct Server {
    name: &'static str,
    directory: PathBuf,
    command: Command,
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    running: Mutex<Option<Supervised>>,
}

struct Supervised {
    /// Holds the other end of the supervisor's input, which closes with this process: a static is
    /// never dropped.
    supervisor: Child,
    leader: u32,
}

impl Server {
    /// Starts `command`, whose `is_ready` is asked again and again, since the servers in use tell
    /// nobody when they are ready. The server owns `directory` from now on and logs there.
    ///
    /// # Panics
    /// If the server ends early or is not ready within two minutes; the panic shows its log.
    pub fn start(
        name: &'static str,
        directory: PathBuf,
        command: Command,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let server =
            Self { name, directory, command, is_ready: Box::new(is_ready), running: None.into() };
        server.restart();
        server
    }

    /// The directory that goes with the server.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Kills the server and all its children at once; the directory stays. Blocks for
    /// milliseconds.
    pub fn kill(&self) {
        if let Some(running) = self.running.lock().unwrap().take() {
            running.end("keep\n");
        }
    }

    /// Starts the server again, killing it first if it still runs. Blocks until it is ready.
    pub fn restart(&self) {
        self.kill();
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISOR, "supervisor"]).arg(&self.directory);
        supervisor.arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => supervisor.env(name, value),
                None => supervisor.env_remove(name),
            };
        }
        // Who kills the tests may kill their whole process group.
        supervisor.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut supervisor = supervisor.spawn().unwrap();
        let mut leader = String::new();
        let output = supervisor.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut leader).unwrap();
        let leader = leader.trim().parse().unwrap();
        *self.running.lock().unwrap() = Some(Supervised { supervisor, leader });
        self.wait_until(&*self.is_ready);
    }

    /// Asks again and again until `is_ready`.
    ///
    /// # Panics
    /// As [`Server::start`] does.
    pub fn wait_until(&self, is_ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_ready() {
            assert!(self.is_alive(), "{} ended early:\n{}", self.name, self.log());
            assert!(
                start.elapsed() < PATIENCE,
                "{} was not ready within {PATIENCE:?}:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(POLL);
        }
    }

    /// What the server printed, all its lives together; the last lines of it.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.directory.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    /// Whether the process is still there and no zombie.
    fn is_alive(&self) -> bool {
        let running = self.running.lock().unwrap();
        running.as_ref().is_some_and(|running| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", running.leader));
            status.is_ok_and(|status| !status.contains("State:\tZ"))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.log());
        }
        match self.running.lock().unwrap().take() {
            Some(running) => running.end(""),
            None => std::fs::remove_dir_all(&self.directory).unwrap_or_default(),
        }
    }
}

impl Supervised {
    /// Gives the last order and waits until it was carried out.
    fn end(mut self, order: &str) {
        let mut input = self.supervisor.stdin.take().unwrap();
        input.write_all(order.as_bytes()).unwrap_or_default();
        drop(input);
        self.supervisor.wait().unwrap();
    }
}

/// A fresh directory that nobody removes but its [`Server`].
pub fn new_directory() -> PathBuf {
    tempfile::tempdir().unwrap().keep()
}

/// A port of 127.0.0.1 that nobody listens at. It stays free while a killed server is away: it is
/// below those that the kernel gives to connections.
pub fn free_port() -> u16 {
    const LOWEST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static TRIED: AtomicU16 = AtomicU16::new(0);
    // Test binaries that run at the same time begin at different ports.
    let start = std::process::id().wrapping_mul(7_919) % u32::from(COUNT);
    let start = u16::try_from(start).unwrap();
    loop {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = LOWEST + (start + tried) % COUNT;
        if TcpListener::bind(loopback(port)).is_ok() {
            return port;
        }
    }
}

/// `port` of 127.0.0.1.
pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Whether somebody listens there.
pub fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

/// Environment variables as stores take them. Who has secrets is listened to from then on.
pub fn environment<const COUNT: usize>(
    variables: [(&str, &str); COUNT],
) -> BTreeMap<String, String> {
    trace::keep();
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// The same for a process.
pub fn command(
    program: PathBuf,
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.into_iter().map(Into::into));
    command
}
