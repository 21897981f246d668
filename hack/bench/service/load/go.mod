module ccl.example/load

go 1.24
