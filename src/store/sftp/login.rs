//! Logging in: one way after the other, until the server is content.

use std::path::Path;
use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use zeroize::Zeroizing;

use super::failure;
use super::identity::{FileKey, Identities};
use super::listener::{Listener, NO_WAY_IN};
use super::table::Table;
use super::url::Location;
use crate::class::Class;
use crate::store::remote::{Failure, Kind};

/// Keys of an agent that are offered: servers end the connection after some six wrong ones.
const MOST_AGENT_KEYS: usize = 5;
/// Rounds of questions that a server may ask.
const MOST_ROUNDS: usize = 5;

/// A login under way.
struct Login<'a> {
    connection: &'a mut Handle<Listener>,
    location: &'a Location,
    table: &'a Table,
    /// What was tried, in words.
    tried: Vec<String>,
    /// What the server still takes; none before it first said so.
    methods: Option<MethodSet>,
}

/// Logs in.
pub(super) async fn log_in(
    connection: &mut Handle<Listener>,
    location: &Location,
    identities: &Identities,
    table: &Table,
) -> Result<(), Failure> {
    let mut login = Login { connection, location, table, tried: Vec::new(), methods: None };
    if let Some(socket) = &identities.agent
        && login.by_agent(socket).await?
    {
        return Ok(());
    }
    for key in &identities.keys {
        if login.by_key(key).await? {
            return Ok(());
        }
    }
    if let Some(password) = &identities.password
        && login.by_password(password).await?
    {
        return Ok(());
    }
    Err(login.refused(&identities.passed_over))
}

impl Login<'_> {
    /// Takes note of what the server said.
    fn is_in(&mut self, outcome: Result<AuthResult, russh::Error>) -> Result<bool, Failure> {
        match outcome {
            Ok(AuthResult::Success) => Ok(true),
            Ok(AuthResult::Failure { remaining_methods, .. }) => {
                self.still_there()?;
                self.methods = Some(remaining_methods);
                Ok(false)
            }
            Err(error) => {
                self.still_there()?;
                Err(failure::lost(&self.location.address(), &error.to_string()))
            }
        }
    }

    /// Russh takes a lost connection for a refusal.
    fn still_there(&self) -> Result<(), Failure> {
        match self.table.ended() {
            None => Ok(()),
            Some(reason) if reason.contains("Too many authentication failures") => {
                Err(self.refused(&["the server wants no more tries".to_owned()]))
            }
            Some(reason) if reason == NO_WAY_IN => Err(self.refused(&[])),
            Some(reason) => Err(failure::lost(&self.location.address(), &reason)),
        }
    }

    fn takes(&self, method: MethodKind) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(&method))
    }

    async fn by_key(&mut self, FileKey { file, key }: &FileKey) -> Result<bool, Failure> {
        if !self.takes(MethodKind::PublicKey) {
            return Ok(false);
        }
        self.tried.push(format!("{} {}", file.display(), describe(key.public_key())));
        for hash in self.hashes(&key.algorithm()).await {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            let user = self.location.user.clone();
            let outcome = self.connection.authenticate_publickey(user, key).await;
            if self.is_in(outcome)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The hashes to sign with, one after the other. SHA-1 is not among them.
    async fn hashes(&self, algorithm: &Algorithm) -> Vec<Option<HashAlg>> {
        if !matches!(algorithm, Algorithm::Rsa { .. }) {
            return vec![None];
        }
        match self.connection.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => vec![Some(hash)],
            // It does not say. Two wrong tries are no more than a wrong key.
            _ => vec![Some(HashAlg::Sha512), Some(HashAlg::Sha256)],
        }
    }

    /// An agent that is not there or does not answer is passed over, as OpenSSH does.
    async fn by_agent(&mut self, socket: &Path) -> Result<bool, Failure> {
        let Ok(mut agent) = AgentClient::connect_uds(socket).await else {
            self.tried.push(format!("no agent answers at {}", socket.display()));
            return Ok(false);
        };
        if let Some(binding) = self.connection.agent_session_binding() {
            // Agents that do not know this hold no keys that need it.
            drop(agent.bind_session(binding, false).await);
        }
        let Ok(identities) = agent.request_identities().await else {
            self.tried.push(format!("the agent at {} shows no keys", socket.display()));
            return Ok(false);
        };
        for identity in identities.into_iter().take(MOST_AGENT_KEYS) {
            let AgentIdentity::PublicKey { key, .. } = identity else {
                continue;
            };
            if !self.takes(MethodKind::PublicKey) {
                break;
            }
            self.tried.push(format!("the agent's {}", describe(&key)));
            for hash in self.hashes(&key.algorithm()).await {
                let (user, key) = (self.location.user.clone(), key.clone());
                let connection = &mut *self.connection;
                match connection.authenticate_publickey_with(user, key, hash, &mut agent).await {
                    Ok(outcome) => {
                        if self.is_in(Ok(outcome))? {
                            return Ok(true);
                        }
                    }
                    // The agent does not want to sign.
                    Err(_) => self.still_there()?,
                }
            }
        }
        Ok(false)
    }

    async fn by_password(&mut self, password: &Zeroizing<String>) -> Result<bool, Failure> {
        let user = &self.location.user;
        if self.takes(MethodKind::Password) {
            self.tried.push("the password".to_owned());
            let outcome = self.connection.authenticate_password(user, password.as_str()).await;
            if self.is_in(outcome)? {
                return Ok(true);
            }
        }
        if !self.takes(MethodKind::KeyboardInteractive) {
            return Ok(false);
        }
        self.tried.push("the password as the answer to the server's question".to_owned());
        self.by_answer(password).await
    }

    /// Answers the one question for a password that servers ask in this way.
    async fn by_answer(&mut self, password: &Zeroizing<String>) -> Result<bool, Failure> {
        let user = &self.location.user;
        let mut said = self.connection.authenticate_keyboard_interactive_start(user, None).await;
        let mut has_answered = false;
        for _ in 0..MOST_ROUNDS {
            let answers = match said {
                Ok(KeyboardInteractiveAuthResponse::Success) => return Ok(true),
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => {
                    match prompts.as_slice() {
                        [] => Vec::new(),
                        [prompt] if !prompt.echo && !has_answered => {
                            has_answered = true;
                            vec![password.to_string()]
                        }
                        _ => return Ok(false),
                    }
                }
                Ok(KeyboardInteractiveAuthResponse::Failure { .. }) => return Ok(false),
                Err(error) => return self.is_in(Err(error)),
            };
            said = self.connection.authenticate_keyboard_interactive_respond(answers).await;
        }
        Ok(false)
    }

    fn refused(&self, passed_over: &[String]) -> Failure {
        let who = format!("{} at {}", self.location.user, self.location.address());
        let noted = [""].into_iter().chain(passed_over.iter().map(String::as_str));
        let noted = noted.collect::<Vec<_>>().join("; ");
        let text = if self.tried.is_empty() {
            format!(
                "there is nothing to log in as {who} with; name a private key in BACKSTAY_SSH_KEY, or \
                 set BACKSTAY_SSH_PASSWORD_FILE{noted}"
            )
        } else {
            format!(
                "the login as {who} is refused, tried: {}; check the user, and let the server accept \
                 one of these, or name another key in BACKSTAY_SSH_KEY{noted}",
                self.tried.join(", ")
            )
        };
        Failure::answer(Kind::Place, Class::Denied, text)
    }
}

fn describe(key: &PublicKey) -> String {
    format!("({} {})", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}
