//! The shared files of AWS's own tools: `~/.aws/credentials` and `~/.aws/config`, of which one profile
//! counts. <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::collections::BTreeMap;
use std::path::PathBuf;

use configparser::ini::Ini;
use zeroize::Zeroizing;

use super::location::wrong;
use crate::environment::{Form, clean};
use crate::store::Error;
use crate::store::settings::Settings;

/// What is read of a profile.
const READ: [&str; 5] =
    ["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region", "endpoint_url"];

/// Ways to a credential that need a program or a browser.
const UNSUPPORTED: [&str; 4] = ["credential_process", "sso_session", "sso_start_url", "role_arn"];

/// What a profile says.
#[derive(Default)]
pub(super) struct Profile {
    values: BTreeMap<String, Zeroizing<String>>,
}

impl Profile {
    /// Reads the profile that `AWS_PROFILE` names, or `default`. Files that are not there say nothing, but
    /// a profile that was named must be there.
    pub(super) fn read(url: &str, settings: &Settings) -> Result<Self, Error> {
        let named = settings.first_of(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        let name = named.unwrap_or("default");
        let mut profile = Self::default();
        let mut found = false;
        // What stands in credentials goes before what stands in config.
        for (variable, file, section) in [
            ("AWS_CONFIG_FILE", ".aws/config", format!("profile {name}")),
            ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", name.to_owned()),
        ] {
            let said = settings.get(variable);
            let path = said.map(PathBuf::from).or_else(|| settings.at_home(file));
            let Some(path) = path else { continue };
            let Some(mut file) = sections(url, &path)? else {
                if said.is_none() {
                    continue;
                }
                let reason = format!("{variable}, {}: there is no such file", path.display());
                return Err(wrong(url, &format!("{reason}; correct the variable, or unset it")));
            };
            // In config the default profile may stand without the word.
            let is_default = name == "default";
            let values = file.remove(&section).or_else(|| is_default.then(|| file.remove(name))?);
            found |= values.is_some();
            profile.values.extend(values.unwrap_or_default());
        }
        profile.clean(name)?;
        match named {
            Some(name) if !found => Err(wrong(
                url,
                &format!("there is no profile {name} in ~/.aws; correct AWS_PROFILE"),
            )),
            Some(name) => profile.check(url, name),
            // Nobody asked for the default profile: what it cannot do is no mistake.
            None => Ok(profile),
        }
    }

    /// Passes values through the place that all from outside pass.
    fn clean(&mut self, name: &str) -> Result<(), Error> {
        for key in READ {
            let Some(value) = self.values.get_mut(key) else { continue };
            let place = format!("profile {name} in ~/.aws, {key}");
            let cleaned = clean(&place, value.as_bytes(), Form::Token).map_err(Error::Setting)?;
            *value = cleaned.unwrap_or_default();
        }
        Ok(())
    }

    fn check(self, url: &str, name: &str) -> Result<Self, Error> {
        let has_key = self.get("aws_access_key_id").is_some();
        match UNSUPPORTED.iter().find(|key| self.get(key).is_some()) {
            Some(key) if !has_key => Err(wrong(
                url,
                &format!(
                    "profile {name} gets its credential by {key}, which is not supported; export it \
                     to the environment (aws configure export-credentials --format env)"
                ),
            )),
            _ => Ok(self),
        }
    }

    /// A value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }
}

type Sections = BTreeMap<String, BTreeMap<String, Zeroizing<String>>>;

/// The sections of a file; none if there is no such file.
fn sections(url: &str, path: &std::path::Path) -> Result<Option<Sections>, Error> {
    let fail = |error: &dyn std::fmt::Display| wrong(url, &format!("{}: {error}", path.display()));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(&error)),
    };
    // The parser's own words repeat the line, which may hold a secret.
    let unparsable = |_| fail(&"it is not a file of [profiles] with lines `name = value`");
    let parsed = Ini::new_cs().read(text.to_string()).map_err(unparsable)?;
    let kept = |values: std::collections::HashMap<String, Option<String>>| {
        let values = values.into_iter();
        values.filter_map(|(name, value)| Some((name, Zeroizing::new(value?)))).collect()
    };
    Ok(Some(parsed.into_iter().map(|(name, values)| (name, kept(values))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Profile, Error> {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        for (name, text) in files {
            std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        }
        let mut variables: Vec<_> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        variables.push(("HOME".into(), home.path().display().to_string()));
        Profile::read("s3://bucket", &Settings::with_environment(variables))
    }

    const CREDENTIALS: &str = "[default]\naws_access_key_id = AK/1+=\naws_secret_access_key=s3cr=et/+\n\
        [work]\naws_access_key_id = AK2\naws_secret_access_key = two\naws_session_token = token\n";
    const CONFIG: &str = "# mine\n[default]\nregion = eu-central-1\n[profile work]\nregion=eu-west-3\n\
        endpoint_url = http://127.0.0.1:9\ns3 =\n    max_concurrent_requests = 20\n[profile web]\n\
        sso_session = x\n";

    #[test]
    fn finds_the_default_and_the_named_one() {
        let files = [("credentials", CREDENTIALS), ("config", CONFIG)];
        let profile = read(&files, &[]).unwrap();
        assert_eq!(profile.get("aws_access_key_id"), Some("AK/1+="));
        assert_eq!(profile.get("aws_secret_access_key"), Some("s3cr=et/+"));
        assert_eq!(profile.get("region"), Some("eu-central-1"));
        let profile = read(&files, &[("AWS_PROFILE", "work")]).unwrap();
        assert_eq!(profile.get("aws_session_token"), Some("token"));
        assert_eq!(profile.get("region"), Some("eu-west-3"));
        assert_eq!(profile.get("endpoint_url"), Some("http://127.0.0.1:9"));
    }

    #[test]
    fn says_what_it_cannot_use() {
        let files = [("config", CONFIG)];
        for (profile, word) in [("other", "no profile other"), ("web", "sso_session")] {
            let error = read(&files, &[("AWS_PROFILE", profile)]).err().unwrap().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(read(&[], &[]).unwrap().get("region").is_none());
    }

    #[test]
    fn names_what_it_cannot_use() {
        let credentials =
            "[default]\naws_access_key_id = AK\naws_secret_access_key = hun\u{1}ter2\n";
        let error = read(&[("credentials", credentials)], &[]).err().unwrap().to_string();
        assert!(error.contains("aws_secret_access_key: holds a control character"), "{error}");
        assert!(!error.contains("ter2"), "{error}");
        for variable in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
            let error = read(&[], &[(variable, "/nonexistent")]).err().unwrap().to_string();
            assert!(error.contains(variable) && error.contains("no such file"), "{error}");
        }
        assert!(read(&[], &[("AWS_CONFIG_FILE", "/dev/null")]).is_ok());
    }

    #[test]
    fn never_repeats_a_line() {
        let error = read(&[("credentials", "[default\naws_secret_access_key = hunter2")], &[]);
        let error = error.err().unwrap().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
