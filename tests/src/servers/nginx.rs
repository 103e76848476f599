//! nginx as Debian builds it: limits by token, HTTP/2, client certificates, connections that end after seven requests.

use std::{fs, path::Path, process::Command};

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use serde_json::json;

use super::{
    ServerError, installed,
    process::{Port, Process},
};

/// Records of one page.
pub const PAGE: usize = 10;
/// Requests after which a connection ends.
pub const REQUESTS: usize = 7;

/// The running server. All of its ports give the same pages at `/items?page=0`.
#[derive(Debug)]
pub struct Nginx {
    plain: u16,
    limited: u16,
    secure: u16,
    old: u16,
    process: Process,
}

/// One request, as the server saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// When it was answered, in seconds since the Unix epoch.
    pub at_s: f64,
    /// The status that was answered.
    pub status: u16,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// Number of the connection.
    pub connection: u64,
    /// The header `Authorization`.
    pub authorization: String,
    /// Path and query.
    pub target: String,
    /// The subject of the client's certificate; `-` without one.
    pub client: String,
}

impl Nginx {
    /// Starts it with so many pages.
    ///
    /// # Errors
    /// Where it is not installed or does not come up.
    pub fn start(pages: usize) -> Result<Self, ServerError> {
        let program = installed("nginx/usr/sbin/nginx")?;
        let folder = tempfile::tempdir()?;
        let (server, client) = (certificate("localhost")?, certificate("client")?);
        write(folder.path(), "server", &server.cert.pem(), &server.signing_key)?;
        write(folder.path(), "client", &client.cert.pem(), &client.signing_key)?;
        fs::create_dir(folder.path().join("pages"))?;
        for page in 0..pages {
            let items: Vec<_> = (page * PAGE..(page + 1) * PAGE).map(|id| json!({"id": id})).collect();
            let body = json!({"total": pages * PAGE, "items": items});
            fs::write(folder.path().join(format!("pages/{page}.json")), body.to_string())?;
        }
        fs::write(folder.path().join("pages/empty.json"), json!({"total": pages * PAGE, "items": []}).to_string())?;
        let ports = [Port::claim()?, Port::claim()?, Port::claim()?, Port::claim()?];
        let [plain, limited, secure, old] = ports.each_ref().map(Port::number);
        fs::write(folder.path().join("nginx.conf"), configuration([plain, limited, secure, old]))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf"]);
        let process = Process::start("nginx", command, folder, ports.into())?;
        Ok(Self { plain, limited, secure, old, process })
    }

    /// Plain HTTP, and connections that end after [`REQUESTS`] requests.
    #[must_use]
    pub fn plain(&self) -> String {
        format!("http://127.0.0.1:{}", self.plain)
    }

    /// Plain HTTP, four requests at once and one in two seconds for each `Authorization`; then 429 with a `Retry-After` of a
    /// second.
    #[must_use]
    pub fn limited(&self) -> String {
        format!("http://127.0.0.1:{}", self.limited)
    }

    /// TLS and HTTP/2. `/private/items` wants a client's certificate.
    #[must_use]
    pub fn secure(&self) -> String {
        format!("https://localhost:{}", self.secure)
    }

    /// TLS 1.1 and older.
    #[must_use]
    pub fn old(&self) -> String {
        format!("https://localhost:{}", self.old)
    }

    /// A file of the server: `server.pem`, its certificate; `client.pem` and `client.key`, those of its client.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        self.process.folder().join(name).display().to_string()
    }

    /// What it was asked so far.
    ///
    /// # Errors
    /// Where its log can't be read.
    pub fn seen(&self) -> Result<Vec<Seen>, ServerError> {
        let log = fs::read_to_string(self.process.folder().join("access.log"))?;
        let wrong = |line: &str| ServerError::Answer { name: "nginx", answer: line.to_owned() };
        log.lines()
            .map(|line| {
                let mut words = line.split('\t').map(str::to_owned);
                let mut word = || words.next().ok_or_else(|| wrong(line));
                Ok(Seen {
                    at_s: word()?.parse().map_err(|_| wrong(line))?,
                    status: word()?.parse().map_err(|_| wrong(line))?,
                    protocol: word()?,
                    connection: word()?.parse().map_err(|_| wrong(line))?,
                    authorization: word()?,
                    target: word()?,
                    client: word()?,
                })
            })
            .collect()
    }
}

fn certificate(name: &str) -> Result<CertifiedKey<KeyPair>, ServerError> {
    generate_simple_self_signed(vec![name.to_owned()])
        .map_err(|error| ServerError::Answer { name: "rcgen", answer: error.to_string() })
}

fn write(folder: &Path, name: &str, certificate: &str, key: &KeyPair) -> Result<(), ServerError> {
    fs::write(folder.join(format!("{name}.pem")), certificate)?;
    Ok(fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?)
}

fn configuration([plain, limited, secure, old]: [u16; 4]) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    log_format seen '$msec\\t$status\\t$server_protocol\\t$connection\\t$http_authorization\\t$request_uri\\t$ssl_client_s_dn';
    access_log access.log seen;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    root .;
    default_type application/json;
    keepalive_requests {REQUESTS};
    limit_req_zone $http_authorization zone=tokens:1m rate=30r/m;
    ssl_certificate server.pem;
    ssl_certificate_key server.key;
    server {{
        listen 127.0.0.1:{plain};
        location = /items {{ try_files /pages/$arg_page.json /pages/empty.json =404; }}
    }}
    server {{
        listen 127.0.0.1:{limited};
        location = /items {{
            limit_req zone=tokens burst=3 nodelay;
            limit_req_status 429;
            error_page 429 = @limited;
            try_files /pages/$arg_page.json /pages/empty.json =404;
        }}
        location @limited {{
            add_header Retry-After 1 always;
            return 429 '{{\"message\": \"too many requests\"}}';
        }}
    }}
    server {{
        listen 127.0.0.1:{secure} ssl http2;
        ssl_client_certificate client.pem;
        location = /down {{ return 302 http://127.0.0.1:{plain}/items; }}
        ssl_verify_client optional;
        location = /items {{ try_files /pages/$arg_page.json /pages/empty.json =404; }}
        location = /private/items {{
            if ($ssl_client_verify != SUCCESS) {{ return 403 '{{\"message\": \"no certificate of a client\"}}'; }}
            try_files /pages/$arg_page.json /pages/empty.json =404;
        }}
    }}
    server {{
        listen 127.0.0.1:{old} ssl;
        ssl_protocols TLSv1 TLSv1.1;
        ssl_ciphers DEFAULT:@SECLEVEL=0;
        location = /items {{ try_files /pages/$arg_page.json /pages/empty.json =404; }}
    }}
}}
"
    )
}
