//! nginx with a configuration of a test's own.

use std::net::SocketAddr;
use std::path::Path;

use super::server::{Server, command, free_port, listens, loopback, new_directory};
use super::tools::tool;

/// What nginx is to do.
#[derive(Default)]
pub struct Site<'a> {
    /// Goes into the block `http`.
    pub context: &'a str,
    /// Goes into the only `location`, which passes on every request as it came.
    pub location: &'a str,
    /// A certificate and its key, if the site is one of HTTPS.
    pub certificate: Option<(&'a Path, &'a Path)>,
}

/// Starts nginx with one site.
pub fn start(site: &Site<'_>) -> (SocketAddr, Server) {
    let address = loopback(free_port());
    let directory = new_directory();
    let Site { context, location, .. } = site;
    let (parameters, certificate) = match site.certificate {
        None => ("", String::new()),
        Some((certificate, key)) => {
            let (certificate, key) = (certificate.display(), key.display());
            ("ssl", format!("ssl_certificate {certificate}; ssl_certificate_key {key};"))
        }
    };
    let config = format!(
        "daemon off;
        master_process off;
        pid nginx.pid;
        error_log stderr;
        events {{ worker_connections 512; }}
        http {{
            access_log off;
            client_body_temp_path body;
            proxy_temp_path proxy;
            fastcgi_temp_path fastcgi;
            scgi_temp_path scgi;
            uwsgi_temp_path uwsgi;
            client_max_body_size 0;
            {context}
            server {{
                listen {address} {parameters};
                {certificate}
                location / {{
                    proxy_http_version 1.1;
                    proxy_request_buffering off;
                    proxy_max_temp_file_size 0;
                    proxy_set_header Host $http_host;
                    {location}
                }}
            }}
        }}"
    );
    std::fs::write(directory.join("nginx.conf"), config).unwrap();
    let place = directory.to_str().unwrap();
    let arguments = ["-e", "stderr", "-p", place, "-c", "nginx.conf"];
    let command = command(tool("nginx"), arguments);
    let server = Server::start("nginx", directory, command, move || listens(address));
    (address, server)
}
