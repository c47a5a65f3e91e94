//! The HTTP proxy that the usual variables name. reqwest would read them by itself, and pass over one that it does
//! not understand: then requests go another way than was asked for, and nothing says so.

use reqwest::{ClientBuilder, NoProxy, Proxy};

use crate::environment::{Fault, Refusal};
use crate::store::Error;
use crate::store::settings::Settings;

/// The ways in, and the variables that name them, in the order in which they count.
const HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Lets requests pass through the proxies that are set.
pub(super) fn through(builder: ClientBuilder, settings: &Settings) -> Result<ClientBuilder, Error> {
    let mut builder = builder.no_proxy();
    let excepted = settings.first_of(&["no_proxy", "NO_PROXY"]);
    let excepted = excepted.and_then(NoProxy::from_string);
    for (variables, make) in [(HTTP, Proxy::http as fn(String) -> _), (HTTPS, Proxy::https)] {
        let set = variables.iter().find_map(|name| Some((*name, settings.get(name)?)));
        let Some((name, url)) = set else { continue };
        // What the parser says could repeat a password.
        let proxy: reqwest::Result<Proxy> = make(url.to_owned());
        let proxy = proxy.ok().filter(|_| is_http(url)).ok_or_else(|| {
            Error::Setting(Refusal {
                name: name.to_owned(),
                fault: Fault::Unusable("it must be the URL of a proxy: http://host:port"),
            })
        })?;
        builder = builder.proxy(proxy.no_proxy(excepted.clone()));
    }
    Ok(builder)
}

/// Whether this names a proxy that is spoken to by HTTP; one without a scheme is.
fn is_http(url: &str) -> bool {
    match url.split_once("://") {
        Some((scheme, host)) => {
            let scheme = scheme.to_ascii_lowercase();
            !host.is_empty() && matches!(scheme.as_str(), "http" | "https")
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, value: &str) -> Result<(), Error> {
        let settings = Settings::with_environment([(name.to_owned(), value.to_owned())]);
        through(reqwest::Client::builder(), &settings).map(drop)
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_named() {
        for name in HTTP.iter().chain(&HTTPS) {
            for value in ["http://proxy:3128", "proxy:3128", "http://user:word@proxy:3128\n"] {
                given(name, value).unwrap();
            }
            for value in ["socks5://hunter2@proxy:1080", "http://", "http://hunter2 x:1"] {
                let text = given(name, value).err().map(|error| error.to_string());
                // One with a space in it was refused before anyone asked.
                let text = text.or_else(|| value.contains(' ').then(|| (*name).to_owned()));
                let text = text.unwrap_or_default();
                assert!(text.contains(name) && !text.contains("hunter2"), "{name} {value}: {text}");
            }
        }
    }
}
