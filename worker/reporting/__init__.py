"""Results as documents (DICOM SR, pictures, HL7, FHIR): values in, documents out; nothing here sends anything."""
