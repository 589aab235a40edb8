drop table test_results, test_runs, test_cases;
