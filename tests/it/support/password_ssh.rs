//! An SSH server that lets in by password, which OpenSSH does for real accounts only: russh's server in
//! front of OpenSSH's `sftp-server`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Response, Session, run_stream};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::server::environment;
use super::tools::tool;

/// Who may come in.
pub const USER: &str = "box";
/// And by what.
pub const PASSWORD: &str = "test-password-of-an-ssh-user";

/// How the server asks for the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// By the method of that name.
    Password,
    /// By a question, as servers with PAM do.
    Question,
}

/// The running server; it ends with its runtime.
pub struct PasswordSsh {
    address: SocketAddr,
    directory: tempfile::TempDir,
}

impl PasswordSsh {
    /// Starts it in this runtime.
    pub async fn start(asks: Asks) -> Self {
        let directory = tempfile::tempdir().unwrap();
        super::sshd::generate(&directory.path().join("host"), "ed25519", "");
        let key = russh::keys::load_secret_key(directory.path().join("host"), None).unwrap();
        let method = match asks {
            Asks::Password => MethodKind::Password,
            Asks::Question => MethodKind::KeyboardInteractive,
        };
        let config = Arc::new(Config {
            methods: MethodSet::from([method].as_slice()),
            auth_rejection_time: Duration::ZERO,
            keys: vec![key],
            ..Config::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let home = directory.path().to_owned();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let visitor = Visitor { home: home.clone(), channel: None };
                let config = Arc::clone(&config);
                tokio::spawn(async move { run_stream(config, stream, visitor).await?.await });
            }
        });
        Self { address, directory }
    }

    /// A repository's URL.
    pub fn url(&self) -> String {
        format!("sftp://{USER}@{}/./repository", self.address)
    }

    /// The variables that say whom to trust; the password is for the test to add.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let place = self.directory.path();
        let public = std::fs::read_to_string(place.join("host.pub")).unwrap();
        let (host, port) = (self.address.ip(), self.address.port());
        std::fs::write(place.join("known_hosts"), format!("[{host}]:{port} {public}")).unwrap();
        let known_hosts = place.join("known_hosts").display().to_string();
        environment([
            ("BACKSTAY_SSH_KNOWN_HOSTS", known_hosts.as_str()),
            ("HOME", place.to_str().unwrap()),
        ])
    }
}

/// One connection.
struct Visitor {
    home: PathBuf,
    channel: Option<Channel<Msg>>,
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(if (user, password) == (USER, PASSWORD) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut answers) = response else {
            let question = (Cow::Borrowed("Password: "), false);
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![question].into(),
            });
        };
        let is_right = answers.next().is_some_and(|answer| answer == PASSWORD.as_bytes());
        Ok(if user == USER && is_right { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        assert_eq!(name, "sftp");
        let mut server = Command::new(tool("sftp-server"));
        server.arg("-d").arg(&self.home).kill_on_drop(true);
        let mut server = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut pipes =
            tokio::io::join(server.stdout.take().unwrap(), server.stdin.take().unwrap());
        let mut stream = self.channel.take().expect("a channel was opened").into_stream();
        session.channel_success(id)?;
        tokio::spawn(async move {
            // However it ends, the client sees it.
            drop(tokio::io::copy_bidirectional(&mut stream, &mut pipes).await);
            drop(server);
        });
        Ok(())
    }
}
