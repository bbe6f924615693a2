//! One `nube up` on a directory of its own, ended and removed when dropped.

use crate::client::{Client, Endpoint};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// For a cloud to answer.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Cloud {
    nube: PathBuf,
    host: &'static str,
    listen: SocketAddr,
    folder: TempDir,
    process: Option<Child>,
}

impl Cloud {
    /// Nothing runs yet. `host` is `sim` or `linux`.
    pub fn new(nube: &Path, host: &'static str) -> Self {
        let folder = TempDir::new().unwrap();
        // Machines run as users of their own and must reach their disks.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        Self { nube: nube.to_owned(), host, listen, folder, process: None }
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("cloud")
    }

    /// Starts it; how long from the start of the program to the first answer to a signed request.
    pub fn up(&mut self) -> Duration {
        self.up_with(&[])
    }

    /// The same with more arguments.
    pub fn up_with(&mut self, arguments: &[&str]) -> Duration {
        let log = fs::File::create(self.folder.path().join("log")).unwrap();
        let begun = Instant::now();
        let process = Command::new(&self.nube)
            .args(["up", "--json", "--host", self.host, "--listen", &self.listen.to_string(), "--data"])
            .arg(self.data())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        loop {
            let answered = self.endpoint().and_then(|endpoint| {
                let mut client = Client::connect(&endpoint).ok()?;
                let (status, _) = client.try_call("DescribeInstances", "").ok()?;
                (status == 200).then_some(())
            });
            if answered.is_some() {
                return begun.elapsed();
            }
            assert!(begun.elapsed() < PATIENCE, "nube up does not answer: {}", self.log());
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Ends `nube up` as Ctrl-C does.
    pub fn interrupt(&mut self) {
        if let Some(mut process) = self.process.take() {
            let ended = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
            assert!(ended.unwrap().success());
            process.wait().unwrap();
        }
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.endpoint().unwrap()).unwrap()
    }

    /// Known once the cloud has made its credentials.
    pub fn endpoint(&self) -> Option<Endpoint> {
        let text = fs::read(self.data().join("credentials")).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let field = |name: &str| json[name].as_str().map(str::to_owned);
        Some(Endpoint {
            address: self.listen,
            access_key_id: field("access_key_id")?,
            secret: field("secret_access_key")?,
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        if self.host == "linux" {
            let down = Command::new(&self.nube).args(["down", "--purge", "--data"]).arg(self.data()).status();
            assert!(down.is_ok_and(|status| status.success()), "nube down --purge failed");
        }
        self.interrupt();
    }
}
