"""FERPlus: FER2013's images under the votes of ten people each."""
