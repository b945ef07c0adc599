//! A private PostgreSQL for `--target embedded`: made in a directory, started as our child, gone with us.
//!
//! It is reached through its socket alone and by its owner alone; it never listens on a network, and never touches a data
//! directory that another living process of ours holds.

use super::binaries::{self, Installation};
use super::connect::connect;
use super::url::Target;
use crate::model::fault::{Fault, FaultClass};
use crate::model::name::ident;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// A running server. Dropping it ends the server at once, as a crash would; `stop` lets it finish.
#[derive(Debug)]
pub struct Cluster {
    server: Child,
    socket: SocketDir,
    /// Held as long as the server lives: one cluster, one owner.
    _lock: File,
}

/// What the server is started with; later settings stand before earlier ones.
const SETTINGS: [(&str, &str); 7] = [
    ("listen_addresses", ""),
    ("port", "5432"),
    ("unix_socket_permissions", "0700"),
    ("shared_buffers", "128MB"),
    ("cluster_name", "liteferry"),
    // Statements and DETAIL carry values, which stay out of every log.
    ("log_min_error_statement", "panic"),
    ("log_error_verbosity", "terse"),
];
const SUPERUSER: &str = "postgres";
const DATABASE: &str = "postgres";
/// Who runs the server when we are root, which PostgreSQL refuses to be.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];
const SOCKET_NAME: &str = ".s.PGSQL.5432";
/// macOS takes one byte less than this, Linux four more.
const SOCKET_PATH_BYTES_MAX: usize = 103;
const SHORT_SOCKET_DIRS: &str = "/tmp/liteferry-";
const SHORT_SOCKET_DIR_TRIES: u32 = 100;
/// Long enough for the recovery of a cluster that was killed.
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);
const DROP_MAX: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Cluster {
    /// Starts the cluster of this directory, which is made where there is none.
    pub async fn start(dir: &Path) -> Result<Cluster, Fault> {
        Cluster::start_with(dir, &[]).await
    }

    /// The same with settings of the caller's, for tests.
    pub async fn start_with(dir: &Path, settings: &[(&str, &str)]) -> Result<Cluster, Fault> {
        let home = Home::open(dir)?;
        let lock = home.lock()?;
        let installation = binaries::find(binaries::version_of_data(&home.data()))?;
        if !home.data().join("PG_VERSION").is_file() {
            home.init(&installation)?;
        }
        home.end_orphan().await?;
        let socket = SocketDir::make(&home)?;
        let server = home.spawn(&installation, &socket, settings)?;
        let mut cluster = Cluster { server, socket, _lock: lock };
        cluster.wait_until_ready(&home).await?;
        Ok(cluster)
    }

    pub fn target(&self) -> Target {
        Target::local(&self.socket.path, SUPERUSER, DATABASE)
    }

    /// Ends every session, lets the server write down what it has, and waits for its end.
    pub async fn stop(mut self) -> Result<(), Fault> {
        let stopping = |error| failed("stop the private PostgreSQL").with_source(error);
        signal(self.server.id(), "INT").map_err(stopping)?;
        let deadline = Instant::now() + STOP_MAX;
        while self.server.try_wait().map_err(stopping)?.is_none() {
            if Instant::now() > deadline {
                return Err(failed("stop the private PostgreSQL in time"));
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self, home: &Home) -> Result<(), Fault> {
        let starting = || failed("start the private PostgreSQL").with_remedy(home.see_log());
        let deadline = Instant::now() + START_MAX;
        loop {
            let fault = match connect(&self.target()).await {
                Ok(session) => {
                    session.close().await;
                    return Ok(());
                }
                Err(fault) => fault,
            };
            let ended = self.server.try_wait().map_err(|error| starting().with_source(error))?;
            if ended.is_some() {
                return Err(starting());
            }
            if fault.class != FaultClass::Transient || Instant::now() > deadline {
                return Err(starting().with_source(fault));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !matches!(self.server.try_wait(), Ok(None)) {
            return;
        }
        // QUIT makes the server end its children first; killed itself, it would leave them and its shared memory behind.
        let asked = signal(self.server.id(), "QUIT");
        let deadline = Instant::now() + DROP_MAX;
        while asked.is_ok() && Instant::now() < deadline {
            if !matches!(self.server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        // Nobody is left to be told of a failure here, and the next start clears what remains.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The directory a cluster lives in, and who runs its server.
struct Home {
    dir: PathBuf,
    run_as: Option<RunAs>,
}

#[derive(Clone, Copy)]
struct RunAs {
    uid: u32,
    gid: u32,
}

impl Home {
    fn open(dir: &Path) -> Result<Home, Fault> {
        let opening = || {
            failed(&format!("use {} for a private PostgreSQL", dir.display()))
                .with_remedy("state.dir must be a directory that this user may write.")
        };
        fs::create_dir_all(dir).map_err(|error| opening().with_source(error))?;
        let dir = dir.canonicalize().map_err(|error| opening().with_source(error))?;
        let run_as = if id(&["-u"]) == Some(0) {
            let found = UNPRIVILEGED.into_iter().find_map(RunAs::named);
            Some(found.ok_or_else(|| {
                opening().with_remedy("PostgreSQL refuses to run as root: make a user named postgres.")
            })?)
        } else {
            None
        };
        let home = Home { dir, run_as };
        let entered =
            home.command(Path::new("sh")).arg("-c").arg("cd \"$1\"").arg("sh").arg(&home.dir).output();
        match entered {
            Ok(output) if output.status.success() => Ok(home),
            Ok(_) => Err(opening().with_remedy(
                "The server's user (postgres or nobody) cannot enter that directory: choose another state.dir.",
            )),
            Err(error) => Err(opening().with_source(error)),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn see_log(&self) -> String {
        format!("The server's log says why: {}.", self.dir.join("postgres.log").display())
    }

    fn lock(&self) -> Result<File, Fault> {
        let locking = || failed(&format!("lock {}", self.dir.display()));
        let path = self.dir.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path);
        let lock = lock.map_err(|error| locking().with_source(error))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => Err(Fault::fatal("embedded_in_use", locking().doing)
                .with_remedy("Another liteferry runs this cluster: end it, or choose another state.dir.")),
            Err(TryLockError::Error(error)) => Err(locking().with_source(error)),
        }
    }

    /// A program in the server's user's name, in English, without our own environment's idea of where PostgreSQL is.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").env("LC_ALL", "C").env_remove("PGDATA").stdin(Stdio::null());
        if let Some(run_as) = self.run_as {
            command.uid(run_as.uid).gid(run_as.gid);
        }
        command
    }

    /// Makes the data directory beside its place and moves it there: half of one is never taken for a whole.
    fn init(&self, installation: &Installation) -> Result<(), Fault> {
        let making = || failed("make a private PostgreSQL cluster");
        let half = self.dir.join("data.new");
        let mut said = String::new();
        // The second is on every system; the first knows more letters than English ones.
        for locale in ["C.UTF-8", "C"] {
            clear(&half).and_then(|()| self.make_dir(&half)).map_err(|error| making().with_source(error))?;
            let output =
                self.initdb(installation, &half, locale).map_err(|error| making().with_source(error))?;
            if output.status.success() {
                return fs::rename(&half, self.data()).map_err(|error| making().with_source(error));
            }
            said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        }
        Err(making().with_source(said))
    }

    fn initdb(&self, installation: &Installation, data: &Path, locale: &str) -> io::Result<Output> {
        self.command(&installation.bin.join("initdb"))
            .arg("--pgdata")
            .arg(data)
            .args(["--username", SUPERUSER, "--encoding", "UTF8", "--locale", locale, "--lc-messages", "C"])
            .args(["--auth-local", "trust", "--auth-host", "reject"])
            .output()
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        match self.run_as {
            Some(run_as) => chown(path, Some(run_as.uid), Some(run_as.gid)),
            None => Ok(()),
        }
    }

    /// Ends the server that a killed run of ours left behind. The lock says that nobody else uses it.
    async fn end_orphan(&self) -> Result<(), Fault> {
        let ending = || failed("end the private PostgreSQL of an earlier run").with_remedy(self.see_log());
        let note = self.data().join("postmaster.pid");
        let Ok(text) = fs::read_to_string(&note) else { return Ok(()) };
        let Some(pid) = text.lines().next().and_then(|pid| pid.trim().parse().ok()) else { return Ok(()) };
        match owner_of(pid) {
            // PostgreSQL itself clears a note whose process is gone.
            None => return Ok(()),
            Some(command) if !self.is_server(&command) => {
                // The number went to a stranger since: PostgreSQL would take the stranger for a server and not start.
                return fs::remove_file(&note).map_err(|error| ending().with_source(error));
            }
            Some(_) => signal(pid, "INT").map_err(|error| ending().with_source(error))?,
        }
        let deadline = Instant::now() + STOP_MAX;
        while owner_of(pid).is_some_and(|command| self.is_server(&command)) {
            if Instant::now() > deadline {
                return Err(ending());
            }
            sleep(LOOK_AGAIN).await;
        }
        if let Some(dir) = text.lines().nth(4).filter(|dir| dir.starts_with(SHORT_SOCKET_DIRS)) {
            clear(Path::new(dir)).map_err(|error| ending().with_source(error))?;
        }
        Ok(())
    }

    fn is_server(&self, command: &str) -> bool {
        command.contains("postgres") && command.contains(&self.data().display().to_string())
    }

    fn spawn(
        &self,
        installation: &Installation,
        socket: &SocketDir,
        settings: &[(&str, &str)],
    ) -> Result<Child, Fault> {
        let starting = || failed("start the private PostgreSQL").with_remedy(self.see_log());
        let log = self.dir.join("postgres.log");
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(log);
        let log = log.map_err(|error| starting().with_source(error))?;
        let errors = log.try_clone().map_err(|error| starting().with_source(error))?;
        let mut command = self.command(&installation.bin.join("postgres"));
        command.arg("-D").arg(self.data());
        // The setting is a list of quoted names.
        command.arg("-k").arg(ident(&socket.path.display().to_string()));
        for (name, value) in SETTINGS.iter().chain(settings) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        // In a process group of its own, a Ctrl-C on the terminal reaches us alone, and we stop the server last.
        command.stdout(log).stderr(errors).process_group(0);
        command.spawn().map_err(|error| starting().with_source(error))
    }
}

impl RunAs {
    fn named(user: &str) -> Option<RunAs> {
        Some(RunAs { uid: id(&["-u", user])?, gid: id(&["-g", user])? })
    }
}

/// Where the socket is: in the cluster's directory, or in a short one of its own where that path would be too long.
#[derive(Debug)]
struct SocketDir {
    path: PathBuf,
    short: bool,
}

impl SocketDir {
    fn make(home: &Home) -> Result<SocketDir, Fault> {
        let making =
            |error| failed("make the directory of the private PostgreSQL's socket").with_source(error);
        let path = home.dir.join("run");
        if path.join(SOCKET_NAME).as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
            clear(&path).and_then(|()| home.make_dir(&path)).map_err(making)?;
            return Ok(SocketDir { path, short: false });
        }
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in 0..SHORT_SOCKET_DIR_TRIES {
            let path = PathBuf::from(format!("{SHORT_SOCKET_DIRS}{}-{number}", std::process::id()));
            match home.make_dir(&path) {
                Ok(()) => return Ok(SocketDir { path, short: true }),
                Err(error) => last = error,
            }
        }
        Err(making(last))
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if self.short {
            // An empty directory that stays behind in /tmp harms nobody.
            let _ = clear(&self.path);
        }
    }
}

fn failed(doing: &str) -> Fault {
    Fault::fatal("embedded_failed", doing).with_remedy(
        "Where there is a postgres.log in state.dir, its end says why; otherwise name another state.dir: a directory that may be written, \
         has room, and holds nothing of somebody else's.",
    )
}

fn clear(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

/// The shell has its own `kill`, which small containers have not.
fn signal(pid: u32, name: &str) -> io::Result<()> {
    let status =
        Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name]).arg(pid.to_string()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -s {name} {pid} was refused"))) }
}

/// The command line of a living process.
fn owner_of(pid: u32) -> Option<String> {
    let words = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(words) => words,
        Err(_) if Path::new("/proc/self").exists() => return None,
        Err(_) => {
            Command::new("ps").args(["-o", "command=", "-p"]).arg(pid.to_string()).output().ok()?.stdout
        }
    };
    // A process that has ended and waits for its parent has no command line any more.
    (!words.is_empty()).then(|| String::from_utf8_lossy(&words).replace('\0', " "))
}
