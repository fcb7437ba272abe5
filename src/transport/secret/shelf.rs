//! Refresh tokens that came from an authorisation server, kept in files of the data directory: one a destination.
//!
//! They are no part of the registry, which is listed, exported and salvaged: a secret must not come along.
//!
//! # What holds
//!
//! * [`Kept::keep`] returns when the token survives a power cut. A cut before that leaves the one before it whole.
//! * A kept token counts only as long as the configured one is that which it came from: a new one in the configuration starts anew.
//! * The files are for their owner alone. One that others may read is refused, and so is one that is no such file.
//!
//! # What it does not know
//!
//! What tokens are exchanged for.

use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::{Secret, sign};
use crate::model::percent::hex;
use crate::transport::http::TokenKeeper;

/// Where tokens are kept. It is given out before it is known where that is; until then there is no token on it and it takes none.
#[derive(Debug, Clone, Default)]
pub struct Shelf(Arc<OnceLock<PathBuf>>);

/// The tokens that follow one configured token.
#[derive(Debug)]
pub struct Kept {
    shelf: Shelf,
    name: String,
    /// The token of the configuration.
    origin: Secret,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
struct Line {
    /// What `origin` is reckoned with.
    salt: String,
    /// What the configured token hashes to.
    origin: String,
    token: String,
}

/// No token is longer, by far.
const FILE_BYTES_MAX: u64 = 1 << 20;

impl Shelf {
    /// Says where. The first word counts.
    pub fn open(&self, dir: PathBuf) {
        let _first = self.0.set(dir);
    }

    /// What keeps the tokens of this destination, of which the first is `origin`.
    #[must_use]
    pub fn keeper(&self, name: &str, origin: Secret) -> Kept {
        Kept { shelf: self.clone(), name: name.to_owned(), origin }
    }
}

impl Kept {
    fn dir(&self) -> Result<&Path, String> {
        self.shelf.0.get().map(PathBuf::as_path).ok_or_else(|| "nobody has said where tokens are kept".to_owned())
    }

    fn path(&self) -> Result<PathBuf, String> {
        Ok(self.dir()?.join(format!("{}.token", self.name)))
    }

    fn read(&self) -> Result<Option<Line>, String> {
        let path = self.path()?;
        let wrong = |what: &str| format!("{} {what}", path.display());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(&format!("cannot be read: {error}"))),
        };
        let known = file.metadata().map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        if is_open_to_others(&known.permissions()) {
            return Err(wrong(
                "may be read by others, who may know the token now; ask for a new one, put it into the configuration and remove the file",
            ));
        }
        let line = (known.len() <= FILE_BYTES_MAX).then(|| serde_json::from_reader(io::BufReader::new(file)).ok());
        let line = line
            .flatten()
            .ok_or_else(|| wrong("holds no token; put a new one into the configuration and remove the file"))?;
        Ok(Some(line))
    }

    fn write(&self, token: &Secret) -> io::Result<()> {
        let (dir, path) = (self.dir().map_err(io::Error::other)?, self.path().map_err(io::Error::other)?);
        make_private(dir)?;
        let salt = format!("{:016x}{:016x}", RandomState::new().hash_one(1_u8), RandomState::new().hash_one(2_u8));
        let line = Line { origin: hashed(&salt, &self.origin), salt, token: token.text().to_owned() };
        let text = Secret::new(serde_json::to_string(&line)?);
        let fresh = path.with_extension("new");
        match fs::remove_file(&fresh) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = private().write(true).create_new(true).open(&fresh)?;
        file.write_all(text.expose())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    }
}

impl TokenKeeper for Kept {
    fn newest(&self) -> Result<Option<Secret>, String> {
        let line = self.read()?;
        let ours = line.filter(|line| line.origin == hashed(&line.salt, &self.origin));
        Ok(ours.map(|line| Secret::new(line.token)))
    }

    fn keep(&self, refresh_token: &Secret) -> Result<(), String> {
        let path = self.path()?;
        self.write(refresh_token).map_err(|error| format!("{} cannot be written: {error}", path.display()))
    }
}

fn hashed(salt: &str, token: &Secret) -> String {
    hex(&sign::mac(&Secret::new(salt.to_owned()), &[token.expose()]))
}

/// Makes the directory, for its owner alone, where there is none, and sees to it that it is found again.
fn make_private(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(dir) {
        Ok(()) => dir.parent().map_or(Ok(()), |above| File::open(above)?.sync_all()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Options that make a file for its owner alone.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn is_open_to_others(permissions: &Permissions) -> bool {
    std::os::unix::fs::PermissionsExt::mode(permissions) & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_permissions: &Permissions) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn newest(kept: &Kept) -> Result<Option<String>, String> {
        Ok(kept.newest()?.map(|token| token.text().to_owned()))
    }

    /// A shelf in a directory that is not there yet.
    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().expect("a directory");
        let shelf = Shelf::default();
        shelf.open(dir.path().join("tokens"));
        (dir, shelf)
    }

    #[test]
    fn a_token_is_found_again_until_another_is_configured() {
        let (_dir, shelf) = shelf();
        let kept = shelf.keeper("erp", secret("r0"));
        assert_eq!(newest(&kept), Ok(None));
        kept.keep(&secret("r1")).expect("kept");
        kept.keep(&secret("r2 \"ż\"")).expect("kept");
        assert_eq!(newest(&shelf.keeper("erp", secret("r0"))), Ok(Some("r2 \"ż\"".into())));
        assert_eq!(newest(&shelf.keeper("erp", secret("anew"))), Ok(None), "an administrator has put in another");
        assert_eq!(newest(&shelf.keeper("shop", secret("r0"))), Ok(None));
    }

    #[test]
    fn a_shelf_that_stands_nowhere_takes_nothing() {
        let kept = Shelf::default().keeper("erp", secret("r0"));
        assert!(kept.keep(&secret("r1")).is_err() && kept.newest().is_err());
    }

    #[test]
    fn a_file_that_is_damaged_is_told_and_its_token_not_shown() {
        let (dir, shelf) = shelf();
        let kept = shelf.keeper("erp", secret("r0"));
        kept.keep(&secret("canary")).expect("kept");
        let path = dir.path().join("tokens/erp.token");
        let text = fs::read_to_string(&path).expect("text");
        fs::write(&path, text.get(1..).expect("text")).expect("written");
        let told = newest(&kept).expect_err("damaged");
        assert!(told.contains("erp.token holds no token; put a new one") && !told.contains("canary"), "{told}");
        assert!(!format!("{kept:?}").contains("r0"));
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (dir, shelf) = shelf();
        let kept = shelf.keeper("erp", secret("r0"));
        kept.keep(&secret("r1")).expect("kept");
        let path = dir.path().join("tokens/erp.token");
        for (path, mode) in [(path.parent().expect("a directory"), 0o700), (&path, 0o600)] {
            assert_eq!(fs::metadata(path).expect("is there").permissions().mode() & 0o777, mode, "{}", path.display());
        }
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("set");
        assert!(newest(&kept).expect_err("refused").contains("may be read by others"));
    }
}
