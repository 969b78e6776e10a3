#!/usr/bin/env python3
"""
Gradual Rollback Manager
Slowly shifts traffic back to stable to avoid connection spikes
"""
import time
import requests
from typing import Dict
class GradualRollback:
    def __init__(self, api_key: str):
        self.api_key = api_key
        self.base_url = "https://api.holysheep.ai/v1"
    def update_traffic_split(self, stable_percent: int) -> Dict:
        """Update traffic split gradually"""
        beta_percent = 100 - stable_percent
        response = requests.post(
            f"{self.base_url}/admin/traffic/config",
            headers={
                "Authorization": f"Bearer {self.api_key}",
                "Content-Type": "application/json"
            },
            json={
                "traffic_split": {
                    "stable": stable_percent,
                    "beta": beta_percent
                }
            }
        )
        return response.json()
    def execute_gradual_rollback(self,
                                 start_beta_percent: int = 10,
                                 step_size: int = 2,
                                 step_delay_seconds: int = 30):
        """
        Gradually reduce beta traffic to zero
        Args:
            start_beta_percent: Starting beta traffic percentage
            step_size: How much to reduce each step
            step_delay_seconds: Seconds between each step
        """
        current_beta = start_beta_percent
        step = 0
        print(f"Starting gradual rollback from {start_beta_percent}% beta traffic")
        while current_beta > 0:
            step += 1
            current_beta = max(0, current_beta - step_size)
            stable_percent = 100 - current_beta
            print(f"Step {step}: Setting stable={stable_percent}%, beta={current_beta}%")
            result = self.update_traffic_split(stable_percent)
            print(f" Result: {result}")
            if current_beta > 0:
                print(f" Waiting {step_delay_seconds} seconds...")
                time.sleep(step_delay_seconds)
        print("Gradual rollback complete! All traffic on stable version.")
if __name__ == "__main__":
    rollback_manager = GradualRollback(api_key="YOUR_HOLYSHEEP_API_KEY")
    # Execute gradual rollback over ~2.5 minutes
    rollback_manager.execute_gradual_rollback(
        start_beta_percent=10,
        step_size=2,
        step_delay_seconds=30
    )
