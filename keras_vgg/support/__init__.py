"""What every part stands on and none is about: flags, files, paths, progress, pictures, streams, the machine."""
