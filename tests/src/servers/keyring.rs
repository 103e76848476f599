//! A desktop's keyring: GNOME's own, at a session bus of its own, which starts nothing by itself.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::ServerError;

const NAME: &str = "gnome-keyring-daemon";
/// What it is made of: packages `dbus`, `gnome-keyring` and `libsecret-tools` of Debian.
const PROGRAMS: [&str; 4] = ["dbus-daemon", NAME, "secret-tool", "dbus-send"];
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The bus and the keyring; dropping it ends both.
#[derive(Debug)]
pub struct Keyring {
    folder: TempDir,
    bus: Running,
    daemon: Option<Running>,
    address: String,
}

/// A child that ends with the value.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Keyring {
    /// Whether all of it is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).exists());
        PROGRAMS.iter().all(|program| there(program))
    }

    /// Starts a bus and an empty keyring that is unlocked.
    ///
    /// # Errors
    /// [`ServerError`]
    pub fn start() -> Result<Self, ServerError> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700))?;
        for name in ["home", "run"] {
            fs::DirBuilder::new().mode(0o700).create(folder.path().join(name))?;
        }
        // No folder of services: what is not running is not there.
        let config = format!(
            "<busconfig><type>session</type><listen>unix:dir={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            folder.path().join("run").display()
        );
        fs::write(folder.path().join("bus.conf"), config)?;
        let said = File::create(folder.path().join("address"))?;
        let bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", folder.path().join("bus.conf").display()))
            .args(["--nofork", "--nopidfile", "--print-address=1"])
            .stdin(Stdio::null())
            .stdout(said)
            .stderr(Stdio::null())
            .spawn()?;
        let mut keyring = Self { bus: Running(bus), daemon: None, address: String::new(), folder };
        keyring.address = keyring.until(|keyring| {
            let said = fs::read_to_string(keyring.folder.path().join("address"))?;
            Ok(said.ends_with('\n').then(|| said.trim().to_owned()))
        })?;
        keyring.open(Some("password"))?;
        Ok(keyring)
    }

    /// Starts the keyring anew, as after a login: unlocked by a password, or locked.
    ///
    /// # Errors
    /// [`ServerError`]
    pub fn open(&mut self, password: Option<&str>) -> Result<(), ServerError> {
        self.close()?;
        let mut command = Command::new(NAME);
        self.at_desktop(&mut command);
        command.args(["--foreground", "--components=secrets"]).stdin(Stdio::null());
        if password.is_some() {
            command.arg("--unlock").stdin(Stdio::piped());
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        if let (Some(mut stdin), Some(password)) = (child.stdin.take(), password) {
            stdin.write_all(password.as_bytes())?;
        }
        self.daemon = Some(Running(child));
        self.until(|keyring| Ok(keyring.answers()?.then_some(())))
    }

    /// Ends the keyring; the bus stays.
    ///
    /// # Errors
    /// [`ServerError`]
    pub fn close(&mut self) -> Result<(), ServerError> {
        match self.daemon.take() {
            None => Ok(()),
            Some(daemon) => {
                drop(daemon);
                self.until(|keyring| Ok((!keyring.answers()?).then_some(())))
            }
        }
    }

    /// Lets a command run in this desktop's session.
    pub fn at_desktop(&self, command: &mut Command) {
        command
            .env("HOME", self.home())
            .env("XDG_DATA_HOME", self.home().join("data"))
            .env("XDG_CONFIG_HOME", self.home().join("config"))
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address);
    }

    /// The home folder of its user.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// What it keeps under these attributes, as its own program sees it.
    ///
    /// # Errors
    /// Where that can't be called.
    pub fn lookup(&self, attributes: &[&str]) -> io::Result<String> {
        let mut command = Command::new("secret-tool");
        self.at_desktop(&mut command);
        let output = command.arg("lookup").args(attributes).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The folder in which it keeps its own files, encrypted.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.home().join("data").join("keyrings")
    }

    fn answers(&self) -> io::Result<bool> {
        let mut command = Command::new("dbus-send");
        self.at_desktop(&mut command);
        let arguments = ["--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner"];
        let output = command.args(arguments).arg("string:org.freedesktop.secrets").stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).contains("boolean true"))
    }

    fn until<T>(&mut self, look: impl Fn(&Self) -> io::Result<Option<T>>) -> Result<T, ServerError> {
        let begun = Instant::now();
        loop {
            if let Some(value) = look(self)? {
                return Ok(value);
            }
            let daemon = self.daemon.iter_mut();
            for (name, running) in daemon.map(|daemon| (NAME, daemon)).chain([("dbus-daemon", &mut self.bus)]) {
                if let Some(status) = running.0.try_wait()? {
                    return Err(ServerError::Ended { name, output: status.to_string() });
                }
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(ServerError::Late { name: NAME, within: READY_WITHIN, output: String::new() });
            }
            std::thread::yield_now();
        }
    }
}

/// Whether a text stands in a file of a folder.
///
/// # Errors
/// Where one can't be read.
pub fn stands_in(folder: &Path, text: &str) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let content = fs::read(entry?.path())?;
        if content.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}
