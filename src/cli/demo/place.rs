//! Where the demo keeps its registry, its configuration and the visitor's token: a directory of the visitor's, or one that goes with it.
//!
//! # What it does not know
//!
//! What is in the files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::super::{Fail, USAGE};
use crate::transport::secret::fresh;

/// A directory. One that was made for the demo alone is removed with it.
pub(super) struct Place {
    dir: PathBuf,
    is_ours: bool,
}

impl Place {
    /// The directory of this name, which must not exist or be empty, or a new one beside other temporary ones.
    pub(super) fn of(given: Option<&str>) -> Result<Place, Fail> {
        let cannot = |dir: &Path, error: &io::Error| {
            Fail::new(USAGE, format!("cannot use {}: {error}", dir.display()))
                .hint("Name another directory with --data.")
        };
        let Some(given) = given else {
            let name = fresh().map_err(|what| Fail::new(USAGE, what))?.get(..12).unwrap_or_default().to_owned();
            let dir = std::env::temp_dir().join(format!("goniec-demo-{name}"));
            builder().create(&dir).map_err(|error| cannot(&dir, &error))?;
            return Ok(Place { dir, is_ours: true });
        };
        let dir = PathBuf::from(given);
        builder().recursive(true).create(&dir).map_err(|error| cannot(&dir, &error))?;
        match fs::read_dir(&dir).map(|mut entries| entries.next().is_some()) {
            Ok(false) => Ok(Place { dir, is_ours: false }),
            Ok(true) => Err(Fail::new(USAGE, format!("{} is not empty", dir.display())).hint(
                "The demo begins with nothing: name a directory that does not exist. What is there was not touched.",
            )),
            Err(error) => Err(cannot(&dir, &error)),
        }
    }

    /// The directory of the registry.
    pub(super) fn registry(&self) -> PathBuf {
        self.dir.join("registry")
    }

    /// Whether it stays when the demo ends.
    pub(super) fn stays(&self) -> bool {
        !self.is_ours
    }

    /// Writes a file that its owner alone may read; where it lies.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Fail> {
        let path = self.dir.join(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Fail::new(USAGE, format!("cannot write {}: {error}", path.display())))?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            log::warn!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

/// Makes directories that their owner alone may enter.
fn builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_its_own_goes_and_a_given_one_stays() {
        let own = Place::of(None).expect("a place");
        own.write("token", "t").expect("writes");
        let dir = own.dir.clone();
        drop(own);
        assert!(!dir.exists());

        let parent = tempfile::tempdir().expect("a directory");
        let given = parent.path().join("a").join("b");
        let given = given.to_str().expect("UTF-8");
        let place = Place::of(Some(given)).expect("a place");
        let file = place.write("token", "t").expect("writes");
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&file.metadata().expect("a file").permissions()) & 0o777,
            0o600
        );
        drop(place);
        assert!(file.exists());
        let refused = Place::of(Some(given)).err().expect("it is not empty");
        assert!(refused.line.ends_with("is not empty"), "{}", refused.line);
        assert!(Place::of(file.to_str()).is_err(), "a file is no directory");
    }
}
