//! A server over real SSH whose SFTP has no files: it answers as a test wants it to, and else as OpenSSH
//! does in a directory where nothing is.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, run_stream};
use russh::{Channel, ChannelId, ChannelWriteHalf, MethodKind, MethodSet};
use tokio::net::TcpListener;

use super::super::wire::status;
use crate::store::settings::Settings;

/// Kinds of requests.
pub(super) const WRITE: u8 = 6;
pub(super) const READ_DIRECTORY: u8 = 12;
pub(super) const REMOVE: u8 = 13;
const LINK: &str = "hardlink@openssh.com";

/// What a client asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The number of its connection, from 0 on.
    pub(super) connection: usize,
    pub(super) kind: u8,
    pub(super) id: u32,
    /// The texts with which it begins: an extension, a handle, paths.
    pub(super) texts: Vec<String>,
}

impl Asked {
    /// Whether an object is to get its name by a link; the trial of links does not count.
    pub(super) fn is_link(&self) -> bool {
        self.texts[0] == LINK && !self.texts[2].contains(".tmp-")
    }
}

/// What a test answers: some packets, maybe none; or what is usual.
type Answer = dyn Fn(&Asked) -> Option<Vec<Bytes>> + Send + Sync;

/// The running server; it ends with its runtime.
pub(super) struct Script {
    address: SocketAddr,
    directory: tempfile::TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Script {
    pub(super) async fn start(
        answer: impl Fn(&Asked) -> Option<Vec<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&[7; 32]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let public = PublicKey::from(&key).to_openssh().unwrap();
        let line = format!("[{}]:{} {public}\n", address.ip(), address.port());
        std::fs::write(directory.path().join("known_hosts"), line).unwrap();
        let config = Arc::new(Config {
            methods: MethodSet::from([MethodKind::Password].as_slice()),
            keys: vec![key],
            ..Config::default()
        });
        let (answer, asked): (Arc<Answer>, Arc<Mutex<_>>) = (Arc::new(answer), Arc::default());
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut connection = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, asked) = (Arc::clone(&answer), Arc::clone(&log));
                let come = BytesMut::new();
                let visitor = Visitor { connection, answer, asked, come, channel: None };
                connection += 1;
                let config = Arc::clone(&config);
                tokio::spawn(async move { run_stream(config, stream, visitor).await?.await });
            }
        });
        Self { address, directory, asked }
    }

    pub(super) fn url(&self) -> String {
        format!("sftp://box@{}/srv", self.address)
    }

    pub(super) fn settings(&self, retry_for: Duration) -> Settings {
        let known_hosts = self.directory.path().join("known_hosts").display().to_string();
        let mut settings = Settings::with_environment([
            ("BACKSTAY_SSH_KNOWN_HOSTS".to_owned(), known_hosts),
            ("BACKSTAY_SSH_PASSWORD".to_owned(), "test-any-password".to_owned()),
        ]);
        settings.limits.retry_for = retry_for;
        settings
    }

    /// What was asked so far that is of this kind.
    pub(super) fn asked(&self, kind: u8) -> Vec<Asked> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.kind == kind).cloned().collect()
    }

    /// Returns once something of this kind was asked.
    pub(super) async fn until(&self, kind: u8) {
        while self.asked(kind).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// One connection.
struct Visitor {
    connection: usize,
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// What has come of the next packets.
    come: BytesMut,
    channel: Option<ChannelWriteHalf<Msg>>,
}

impl Visitor {
    /// The next packet, if all of it has come.
    fn next(&mut self) -> Option<Asked> {
        let length = usize::try_from(self.come.get(..4)?.get_u32()).unwrap();
        if self.come.len() < 4 + length {
            return None;
        }
        let mut packet = self.come.split_to(4 + length).freeze().slice(4..);
        let (kind, id) = (packet.get_u8(), packet.get_u32());
        let mut texts = Vec::new();
        while let Ok(length) = packet.try_get_u32()
            && usize::try_from(length).unwrap() <= packet.len()
        {
            let text = packet.split_to(usize::try_from(length).unwrap());
            texts.push(String::from_utf8_lossy(&text).into_owned());
        }
        Some(Asked { connection: self.connection, kind, id, texts })
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, _: &str) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channel = Some(channel.split().1);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        _: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        bytes: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.come.extend_from_slice(bytes);
        while let Some(asked) = self.next() {
            let said = (self.answer)(&asked).unwrap_or_else(|| vec![usual(&asked)]);
            self.asked.lock().unwrap().push(asked);
            for packet in said {
                session.data(channel, packet)?;
            }
        }
        Ok(())
    }
}

/// What OpenSSH would say where only the directory `/srv` is.
fn usual(asked: &Asked) -> Bytes {
    let is_trial = || asked.texts.last().is_some_and(|to| to.contains(".tmp-"));
    match (asked.kind, asked.texts.first().map(String::as_str)) {
        (1, _) => {
            let extensions = [LINK, "fsync@openssh.com", "statvfs@openssh.com"];
            let extensions = extensions.map(|name| [text(name), text("1")].concat());
            packet(2, &[&[0, 0, 0, 3][..], &extensions.concat()].concat())
        }
        (3 | 11, _) => packet(102, &[&asked.id.to_be_bytes()[..], &text("h")].concat()),
        (READ_DIRECTORY, _) => said(asked.id, status::END_OF_FILE),
        (17, Some("/srv")) => {
            packet(105, &[&asked.id.to_be_bytes()[..], &DIRECTORY.concat()].concat())
        }
        (17, _) => said(asked.id, status::NO_SUCH_FILE),
        (18, _) | (200, Some(LINK)) if is_trial() => said(asked.id, status::FAILURE),
        (200, Some("statvfs@openssh.com")) => {
            // Blocks of 4 KiB, of which many are free.
            let numbers = [4_096, 4_096, 1 << 30, 1 << 29, 1 << 29, 9, 9, 9, 1, 0, 255];
            let numbers = numbers.map(u64::to_be_bytes).concat();
            packet(201, &[&asked.id.to_be_bytes()[..], &numbers].concat())
        }
        _ => said(asked.id, status::OK),
    }
}

/// The attributes of a directory and of a file with one byte.
const DIRECTORY: [[u8; 4]; 2] = [[0, 0, 0, 4], [0, 0, 0x41, 0xff]];
const FILE: [[u8; 4]; 4] = [[0, 0, 0, 5], [0; 4], [0, 0, 0, 1], [0, 0, 0x81, 0xff]];

/// A status.
pub(super) fn said(id: u32, code: u32) -> Bytes {
    let text = text(if code == status::FAILURE { "Failure" } else { "" });
    packet(101, &[&id.to_be_bytes()[..], &code.to_be_bytes(), &text, &[0; 4]].concat())
}

/// Rows of a directory, all of them files.
pub(super) fn names(id: u32, names: &[&str]) -> Bytes {
    let count = u32::try_from(names.len()).unwrap().to_be_bytes();
    let rows: Vec<u8> =
        names.iter().flat_map(|name| [text(name), text("-"), FILE.concat()].concat()).collect();
    packet(104, &[&id.to_be_bytes()[..], &count, &rows].concat())
}

fn text(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(kind: u8, body: &[u8]) -> Bytes {
    let mut packet = BytesMut::new();
    packet.put_u32(u32::try_from(body.len()).unwrap() + 1);
    packet.put_u8(kind);
    packet.put_slice(body);
    packet.freeze()
}
