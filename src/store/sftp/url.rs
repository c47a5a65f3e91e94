//! What an `sftp://` URL names: a user at a host, and a directory there.

use crate::store::Error;
use crate::store::open::{percent_decode, wrong};
use crate::store::settings::Settings;

const PORT: u16 = 22;

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    /// Who logs in.
    pub(super) user: String,
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The repository's directory as the server is told: absolute, or relative to where a session
    /// starts, which itself is `.`.
    pub(super) root: String,
    /// The URL for people.
    pub(super) url: String,
}

impl Location {
    /// Takes a URL apart. Without a user it is who runs this.
    ///
    /// # Errors
    /// [`Error::Place`] of class `config`.
    pub(super) fn parse(url: &str, settings: &Settings) -> Result<Self, Error> {
        let fail = |reason: &str| wrong(url, reason);
        let decode = |text: &str| {
            let decoded = percent_decode(text)
                .ok_or_else(|| fail("a % must be followed by two hexadecimal digits"))?;
            if decoded.chars().any(char::is_control) {
                return Err(fail("a control character has no place in a URL"));
            }
            Ok(decoded)
        };
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        if rest.contains(['?', '#']) {
            return Err(fail("a ? in a path is written %3F, and a # is written %23"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (decode(user)?, host),
            None => (settings.first_of(&["USER", "LOGNAME"]).unwrap_or("").to_owned(), authority),
        };
        if user.is_empty() {
            return Err(fail("it names no user; write sftp://user@host/path"));
        }
        let (host, port) = split_port(host).map_err(fail)?;
        Ok(Self {
            user,
            host: decode(host)?.to_ascii_lowercase(),
            port,
            root: root_of(&decode(path)?).map_err(fail)?,
            url: url.to_owned(),
        })
    }

    /// The host and port for people.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The path of what is called `name` in the repository; of its directory if that is empty.
    pub(super) fn path_of(&self, name: &str) -> String {
        match (self.root.as_str(), name.trim_end_matches('/')) {
            (root, "") => root.to_owned(),
            (".", name) => name.to_owned(),
            ("/", name) => format!("/{name}"),
            (root, name) => format!("{root}/{name}"),
        }
    }
}

fn split_port(host: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = if let Some(rest) = host.strip_prefix('[') {
        rest.split_once(']').ok_or("the bracket after its IPv6 address is missing")?
    } else if host.matches(':').count() > 1 {
        return Err("an IPv6 address stands in brackets: sftp://user@[2001:db8::1]/path");
    } else {
        host.split_at(host.find(':').unwrap_or(host.len()))
    };
    if host.is_empty() {
        return Err("it names no host; write sftp://user@host/path");
    }
    let port = match (port, port.strip_prefix(':')) {
        ("", _) => Some(PORT),
        (_, Some(port)) => port.parse().ok().filter(|port| *port != 0),
        _ => None,
    };
    let port = port.ok_or(
        "behind the colon stands a port from 1 to 65535; the path follows a slash: \
         sftp://user@host:23/path",
    )?;
    Ok((host, port))
}

/// `/path` is absolute; `/./path` and `/~/path` begin where a session starts.
fn root_of(path: &str) -> Result<String, &'static str> {
    let relative = ["/./", "/~/"].iter().find_map(|start| path.strip_prefix(start));
    let relative = if matches!(path, "/." | "/~") { Some("") } else { relative };
    let mut components = Vec::new();
    for component in relative.unwrap_or(path).split('/') {
        match component {
            "" | "." => {}
            ".." => return Err("write its path without .."),
            component => components.push(component),
        }
    }
    let joined = components.join("/");
    match relative {
        Some(_) if joined.is_empty() => Ok(".".to_owned()),
        Some(_) => Ok(joined),
        None if path.is_empty() => {
            Err("it names no directory; write sftp://user@host/absolute/path, or \
             sftp://user@host/./path for one below where the login leads")
        }
        None => Ok(format!("/{joined}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::with_environment([("USER".to_owned(), "me".to_owned())])
    }

    fn parse(url: &str) -> Location {
        Location::parse(url, &settings()).unwrap()
    }

    #[test]
    fn takes_urls_apart() {
        let location = parse("sftp://u1-sub1@u1.your-storagebox.de:23/./backup/main/");
        assert_eq!((location.user.as_str(), location.port), ("u1-sub1", 23));
        assert_eq!(
            (location.host.as_str(), location.root.as_str()),
            ("u1.your-storagebox.de", "backup/main")
        );
        assert_eq!(location.address(), "u1.your-storagebox.de:23");
        assert_eq!(parse("sftp://host/srv").user, "me");
        let location = parse("sftp://a%40b@[2001:DB8::1]:2222/srv/my%20backup");
        assert_eq!((location.user.as_str(), location.host.as_str()), ("a@b", "2001:db8::1"));
        assert_eq!(location.address(), "[2001:db8::1]:2222");
        assert_eq!(location.root, "/srv/my backup");
    }

    #[test]
    fn tells_absolute_paths_from_relative_ones() {
        for (path, root, object) in [
            ("/srv/backup", "/srv/backup", "/srv/backup/a/b"),
            ("//srv//backup/", "/srv/backup", "/srv/backup/a/b"),
            ("/srv/./backup", "/srv/backup", "/srv/backup/a/b"),
            ("/", "/", "/a/b"),
            ("/./backup", "backup", "backup/a/b"),
            ("/~/backup", "backup", "backup/a/b"),
            ("/~other/backup", "/~other/backup", "/~other/backup/a/b"),
            ("/./", ".", "a/b"),
            ("/~", ".", "a/b"),
        ] {
            let location = parse(&format!("sftp://host{path}"));
            assert_eq!(location.root, root, "{path}");
            assert_eq!(location.path_of("a/b"), object, "{path}");
            assert_eq!(location.path_of(""), root, "{path}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, expected) in [
            ("sftp://host", "no directory"),
            ("sftp:///srv", "no host"),
            ("sftp://@host/srv", "no user"),
            ("sftp://host:srv/backup", "a port from 1"),
            ("sftp://host:0/srv", "a port from 1"),
            ("sftp://host:70000/srv", "a port from 1"),
            ("sftp://[::1/srv", "bracket"),
            ("sftp://[::1]x/srv", "a port from 1"),
            ("sftp://::1/srv", "in brackets"),
            ("sftp://host/srv/../etc", "without .."),
            ("sftp://host/a%2", "two hexadecimal digits"),
            ("sftp://host/a%00", "control character"),
            ("sftp://host/a?b", "%3F"),
        ] {
            let text = Location::parse(url, &settings()).unwrap_err().to_string();
            assert!(text.contains(expected), "{url}: {text}");
        }
        let nobody = Location::parse("sftp://host/srv", &Settings::default()).unwrap_err();
        assert!(nobody.to_string().contains("no user"), "{nobody}");
    }
}
