"""The online path, one file a stage: validate → session → learn → candidates → score → split → publish."""
